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
pub enum Verdict {
    /// It depends on no caller.
    Public(Analysis),
    /// It is answered for the token's role.
    Private(Private),
}

/// A query that anonymous callers get no answer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Private {
    /// Why.
    pub why: WhyPrivate,
}

/// Why a query is private.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyPrivate {
    /// It reads a relation with row-level security, whose rows depend on who asks.
    RowSecurity(String),
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
        unkept.extend(through_view.filter_map(functions::why_unkept));
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
                unkept.extend(words_of_view(view));
            }
        }
        Ok(Self {
            columns,
            read_set: evidence.relations,
            unkept,
            plan,
            only_builtins: functions.iter().all(|function| function.builtin || !function.called),
        })
    }

    /// The scope of what anonymous callers may run.
    pub fn scope(self) -> Verdict {
        let secured = self.read_set.iter().find(|relation| relation.row_security);
        match secured {
            Some(relation) => Verdict::Private(Private {
                why: WhyPrivate::RowSecurity(relation.display()),
            }),
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
