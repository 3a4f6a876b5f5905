//! What PostgreSQL and the text say together: the scope of a query, what it reads, and why its answer
//! can't be kept.

use std::fmt;

use rolegate_pg::session::Field;

use crate::functions::{self, Found, Identity};
use crate::plan::{self, Plan};
use crate::refusal::Refusal;
use crate::relations::Relation;
use crate::select::Column;
use crate::text::Text;

/// What was found out about a text in one identity.
#[derive(Debug)]
pub struct Evidence<'e> {
    /// The text.
    pub text: &'e Text,
    /// `explain (format json)`.
    pub plan: &'e [u8],
    /// The columns of the result.
    pub fields: &'e [Field],
    /// What parsing and planning has locked.
    pub relations: Vec<Relation>,
    /// Functions that the texts of views could call.
    pub view_functions: &'e [Found],
    /// Operators in the text that somebody added and that are not immutable.
    pub operators: Vec<String>,
    /// The same in the texts of views.
    pub view_operators: Vec<String>,
    /// Catalogs an operator has allowed, as `schema.name`.
    pub catalogs: &'e [String],
}

/// A query that may run, as one identity sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The columns of the result.
    pub columns: Vec<Column>,
    /// Every relation it reads.
    pub read_set: Vec<Relation>,
    /// Why the answer can't be kept; empty if it can.
    pub unkept: Vec<Unkept>,
    /// What the planner expects.
    pub plan: Plan,
    /// Every function and operator in the text is PostgreSQL's own.
    pub only_builtins: bool,
}

/// The scope of a query that runs for anonymous callers.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<'a> {
    /// It is the same for all callers without a token.
    Public(&'a Analysis),
    /// It is answered for the token's role, and this is why.
    Private(WhyPrivate),
}

/// Why a query is private.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyPrivate {
    /// It reads a relation with row-level security, whose rows depend on who asks.
    RowSecurity(String),
    /// It depends on who asks; whoever has a token gets what his role gets.
    Caller(Unkept),
    /// It asks what there is.
    NeedsToken(Refusal),
    /// PostgreSQL refuses it to the anonymous role, or can't make sense of it there.
    Refused {
        /// SQLSTATE.
        sqlstate: String,
        /// What the server said; for the log and for those who may see everything.
        message: String,
    },
}

impl fmt::Display for WhyPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RowSecurity(relation) => write!(f, "{relation} has row-level security"),
            Self::Caller(what) => write!(f, "it may depend on who asks: {what}"),
            Self::NeedsToken(refusal) => refusal.fmt(f),
            Self::Refused { sqlstate, message } => {
                write!(f, "anonymous callers are refused: {message} ({sqlstate})")
            }
        }
    }
}

/// Why an answer can't be kept for the next caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unkept {
    /// A function whose result depends on more than its arguments.
    Function(String),
    /// An operator with such a function.
    Operator(String),
    /// A word that depends on the session or the time.
    Word(String),
    /// A constant that means another moment tomorrow.
    Moment(String),
    /// A relation whose changes are not seen.
    Unpublished(String),
    /// One of these in a view.
    InView(Box<Unkept>),
}

impl Unkept {
    /// Whether another caller could get another answer at the same time.
    fn depends_on_caller(&self) -> bool {
        match self {
            Self::Function(name) => name
                .strip_prefix("pg_catalog.")
                .is_none_or(functions::looks_up),
            Self::Operator(_) => true,
            Self::Word(word) => !is_time(word),
            Self::Moment(_) | Self::Unpublished(_) => false,
            Self::InView(inner) => inner.depends_on_caller(),
        }
    }

    /// As it may be told to whoever is not to know what is behind views: `open` says which relations he may read.
    pub fn for_anonymous(&self, open: impl Fn(&str) -> bool) -> String {
        match self {
            Self::InView(_) => "a view depends on more than its tables".to_owned(),
            Self::Unpublished(relation) if !open(relation) => {
                "changes of a table behind a view are not seen here".to_owned()
            }
            told => told.to_string(),
        }
    }
}

/// Of the words that depend on the session or the time, those of the time.
fn is_time(word: &str) -> bool {
    matches!(
        word,
        "current_catalog"
            | "current_date"
            | "current_time"
            | "current_timestamp"
            | "localtime"
            | "localtimestamp"
    )
}

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(name) => {
                write!(f, "the function {name} depends on more than its arguments")
            }
            Self::Operator(name) => {
                write!(f, "the operator {name} depends on more than its arguments")
            }
            Self::Word(word) => write!(f, "{word} depends on the session or the time"),
            Self::Moment(word) => write!(f, "the constant '{word}' means another moment tomorrow"),
            Self::Unpublished(relation) => {
                write!(f, "changes of {relation} are not seen here")
            }
            Self::InView(inner) => inner.fmt(f),
        }
    }
}

impl Analysis {
    /// Puts it together. `functions` are those the text could call; they were judged before anything was
    /// planned, and are judged again here.
    pub fn conclude(
        evidence: Evidence<'_>,
        functions: &[Found],
        identity: Identity,
    ) -> Result<Self, Refusal> {
        let text = evidence.text;
        let mut unkept = functions::judge(text, functions, identity)?;
        let plan = plan::read(evidence.plan)?;
        let columns = Column::of(evidence.fields)?;
        let through_view = evidence.view_functions.iter().filter(|found| found.called);
        let in_view = |inner: Unkept| Unkept::InView(Box::new(inner));
        unkept.extend(through_view.filter_map(functions::why_unkept).map(in_view));
        let through_view = evidence.view_operators.into_iter();
        unkept.extend(through_view.map(Unkept::Operator).map(in_view));
        unkept.extend(evidence.operators.into_iter().map(Unkept::Operator));
        unkept.extend(text.session_words.iter().cloned().map(Unkept::Word));
        unkept.extend(text.moment.clone().map(Unkept::Moment));
        for relation in &evidence.relations {
            if relation.system
                && text.names.contains(&relation.name)
                && !evidence.catalogs.contains(&relation.display())
            {
                return Err(Refusal::Catalog(relation.display()));
            }
            if !relation.has_no_rows() && !relation.published {
                unkept.push(Unkept::Unpublished(relation.display()));
            }
            if let Some(view) = &relation.view {
                unkept.extend(words_of_view(view).into_iter().map(in_view));
            }
        }
        Ok(Self {
            columns,
            read_set: evidence.relations,
            unkept,
            plan,
            only_builtins: functions
                .iter()
                .all(|function| function.builtin || !function.called),
        })
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        let relation = |relation: &Relation| {
            let names: usize = relation
                .comparable
                .iter()
                .map(|(name, _)| name.len() + 40)
                .sum();
            let view = relation.view.as_deref().map_or(0, str::len);
            256 + relation.schema.len() + relation.name.len() + view + names
        };
        let columns: usize = self
            .columns
            .iter()
            .map(|column| column.name.len() + 64)
            .sum();
        let read_set: usize = self.read_set.iter().map(relation).sum();
        columns + read_set + self.unkept.len() * 96
    }

    /// What could give another caller another answer at the same time: then whoever has a token gets the answer for his
    /// role, as if the query were private.
    pub fn depends_on_caller(&self) -> Option<&Unkept> {
        self.unkept.iter().find(|unkept| unkept.depends_on_caller())
    }

    /// The scope of what anonymous callers may run.
    pub fn scope(&self) -> Verdict<'_> {
        let secured = self.read_set.iter().find(|relation| relation.row_security);
        match secured {
            Some(relation) => Verdict::Private(WhyPrivate::RowSecurity(relation.display())),
            None => Verdict::Public(self),
        }
    }
}

/// What the text of a view has that depends on more than its tables.
fn words_of_view(view: &str) -> Vec<Unkept> {
    match Text::read(view) {
        Ok(text) => {
            let words = text.session_words.into_iter().map(Unkept::Word);
            words.chain(text.moment.map(Unkept::Moment)).collect()
        }
        Err(_) => vec![Unkept::Function("of a view that can't be read".to_owned())],
    }
}

#[cfg(test)]
mod tests;
