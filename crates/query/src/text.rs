//! What the text of a query says by itself, before PostgreSQL sees it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use rolegate_sql::token::{Token, placed};
use rolegate_sql::{Reason, is_harmless_builtin, is_syntax};

use crate::pinned::{self, OneTable};
use crate::refusal::Refusal;

mod attributes;

/// Longest text that is looked at.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Words that stand for a function without parentheses and depend on the session or on the time.
const SESSION_WORDS: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

/// Constants that mean another moment each time they are read as a date.
const MOMENTS: &[&str] = &["now", "today", "tomorrow", "yesterday"];

/// Types whose input knows the words above.
const TIME_TYPES: &[&str] = &[
    "date",
    "daterange",
    "datemultirange",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "tsmultirange",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
];

/// Functions that make a text which stands nowhere as it is.
const TEXT_MAKERS: &[&str] = &[
    "array_to_json",
    "array_to_string",
    "btrim",
    "chr",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "decode",
    "format",
    "left",
    "lpad",
    "ltrim",
    "normalize",
    "overlay",
    "regexp_match",
    "regexp_matches",
    "regexp_replace",
    "regexp_split_to_array",
    "regexp_split_to_table",
    "regexp_substr",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "string_agg",
    "string_to_array",
    "string_to_table",
    "substr",
    "substring",
    "to_ascii",
    "to_char",
    "translate",
    "trim",
    "unistr",
    "xmlagg",
    "xmlconcat",
    "xmlelement",
    "xmlserialize",
    "xpath",
];

/// Characters of operators.
const OPERATOR: &str = "+-*/<>=~!@#%^&|`?";

/// One statement that may be a query, and the names in it. What a name stands for is not known here:
/// the sets hold everything it could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The statement without a semicolon behind it.
    pub sql: Arc<str>,
    /// Names in front of a parenthesis.
    pub called: BTreeSet<String>,
    /// Those of them that are no alias with its columns, as far as can be told.
    pub certainly_called: BTreeSet<String>,
    /// Names behind a point: `row.name` calls a function if there is no such column.
    pub attributes: BTreeSet<String>,
    /// Those of them that could be taken from a value that is no row.
    pub attributes_of_values: BTreeSet<String>,
    /// Every name, each by itself.
    pub names: BTreeSet<String>,
    /// Names where a type can stand: behind `::`, in `cast(... as ...)`, in front of a string, behind the name
    /// of a column.
    pub types: BTreeSet<String>,
    /// Operators, also those that words stand for.
    pub operators: BTreeSet<String>,
    /// Words that depend on the session or on the time.
    pub session_words: BTreeSet<String>,
    /// A constant that could mean another moment tomorrow.
    pub moment: Option<String>,
    /// The highest `$n`.
    pub parameters: usize,
    /// The one table it reads, with the columns that have one value, if that can be told from the words.
    pub one_table: Option<OneTable>,
    /// The order of the rows is asked for.
    pub ordered: bool,
}

impl Text {
    /// Reads it.
    pub fn read(sql: &str) -> Result<Self, Refusal> {
        if sql.len() > MAX_BYTES {
            return Err(Refusal::TooLong(sql.len(), MAX_BYTES));
        }
        if sql.contains('\0') {
            return Err(Refusal::NullCharacter);
        }
        let mut tokens = placed(sql).map_err(|reason| unreadable(&reason))?;
        while matches!(tokens.last(), Some((Token::Symbol(';'), _))) {
            tokens.pop();
        }
        let (Some((_, first)), Some((_, last))) = (tokens.first(), tokens.last()) else {
            return Err(Refusal::Empty);
        };
        let sql: Arc<str> = sql[first.start..last.end].into();
        begins_like_a_query(&tokens)?;
        let mut text = Self {
            sql,
            called: BTreeSet::new(),
            attributes: BTreeSet::new(),
            attributes_of_values: BTreeSet::new(),
            certainly_called: attributes::certainly_called(&tokens),
            names: BTreeSet::new(),
            types: types(&tokens),
            operators: operators(&tokens),
            session_words: BTreeSet::new(),
            moment: None,
            parameters: 0,
            one_table: None,
            ordered: is_ordered(&tokens),
        };
        text.attributes_of_values = attributes::of_values(&tokens, &text.types);
        text.one_table = pinned::read(&text.sql, &tokens);
        for index in 0..tokens.len() {
            text.take(&tokens, index)?;
        }
        if text.moment.is_none() {
            text.moment = text.built_moment(&tokens);
        }
        Ok(text)
    }

    /// Bytes it takes, about: names are in several sets, and constants beside the text.
    pub fn weight(&self) -> usize {
        let sets = [
            &self.called,
            &self.certainly_called,
            &self.attributes,
            &self.attributes_of_values,
            &self.names,
            &self.types,
            &self.operators,
            &self.session_words,
        ];
        let names = sets.into_iter().flatten().map(|name| 48 + name.len());
        let pinned = self.one_table.as_ref().map_or(0, |one| one.pinned.len());
        512 + 2 * self.sql.len() + names.sum::<usize>() + 128 * pinned
    }

    /// Whether a text that is put together could be read as a date: `('no' || 'w')::date`. The type, if so.
    fn built_moment(&self, tokens: &[(Token, Range<usize>)]) -> Option<String> {
        let is_text = |token: &Token| matches!(token, Token::Text(_));
        let builds = self.operators.contains("||")
            || self.certainly_called.iter().any(|name| makes_text(name))
            || self
                .attributes_of_values
                .iter()
                .any(|name| TEXT_MAKERS.contains(&&**name))
            || tokens
                .windows(2)
                .any(|pair| is_text(&pair[0].0) && is_text(&pair[1].0));
        let mut types = self
            .types
            .iter()
            .chain(&self.called)
            .chain(&self.attributes_of_values);
        let timed = types.find(|name| TIME_TYPES.contains(&name.trim_start_matches('_')));
        timed.filter(|_| builds).cloned()
    }

    fn take(&mut self, tokens: &[(Token, Range<usize>)], index: usize) -> Result<(), Refusal> {
        let is = |at: Option<usize>, symbol: char| {
            at.and_then(|at| tokens.get(at))
                .is_some_and(|(token, _)| *token == Token::Symbol(symbol))
        };
        let before = index.checked_sub(1);
        match &tokens[index].0 {
            Token::Symbol(';') => return Err(Refusal::SeveralStatements),
            Token::Symbol('$') => {
                if let Some((Token::Number, place)) = tokens.get(index + 1)
                    && place.start == tokens[index].1.end
                {
                    // The text begins where its first token does.
                    let shift = tokens[0].1.start;
                    let digits = &self.sql[place.start - shift..place.end - shift];
                    let number = digits.parse().unwrap_or(usize::MAX);
                    self.parameters = self.parameters.max(number);
                }
            }
            Token::Text(text) => {
                if self.moment.is_none() {
                    self.moment = moment(text);
                }
            }
            token @ (Token::Word(name) | Token::Quoted(name)) => {
                let called = is(Some(index + 1), '(');
                // `treat(x as f)` is a call of f.
                if called && token.is_word("treat") {
                    return Err(Refusal::Function(name.clone()));
                }
                // In some encodings PostgreSQL makes all letters small.
                let folded = Some(name.to_lowercase());
                let folded = folded.filter(|folded| folded != name && token.is_word(name));
                for name in std::iter::once(name).chain(&folded) {
                    self.names.insert(name.clone());
                    if called {
                        self.called.insert(name.clone());
                    } else if is_behind_point(tokens, index) {
                        self.attributes.insert(name.clone());
                    }
                }
                if matches!(token, Token::Word(_))
                    && !is(before, '.')
                    && SESSION_WORDS.contains(&name.as_str())
                {
                    self.session_words.insert(name.clone());
                }
            }
            Token::Number | Token::Range | Token::Symbol(_) => {}
        }
        Ok(())
    }
}

fn is_behind_point(tokens: &[(Token, Range<usize>)], index: usize) -> bool {
    let before = index.checked_sub(1).map(|at| &tokens[at].0);
    matches!(before, Some(Token::Symbol('.') | Token::Range))
}

/// Whether `order by` stands outside of all parentheses.
fn is_ordered(tokens: &[(Token, Range<usize>)]) -> bool {
    let mut depth = 0_usize;
    tokens.windows(2).any(|pair| {
        match pair[0].0 {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && pair[0].0.is_word("order") && pair[1].0.is_word("by")
    })
}

/// Whether a function of this name could make a text that stands nowhere as it is.
fn makes_text(name: &str) -> bool {
    let known = is_harmless_builtin(name) || is_syntax(name) || name == "cast";
    TEXT_MAKERS.contains(&name) || !known
}

/// Whether a constant or parameter could mean another moment tomorrow: the word that does.
pub fn moment(text: &str) -> Option<String> {
    // With an escape the word could be written in another way; the letter is an S in capitals.
    if text.contains(['\\', 'ſ']) {
        return Some(text.chars().take(40).collect());
    }
    let lower = text.to_ascii_lowercase();
    // `today10:00` is read as well.
    lower
        .split(|c: char| !c.is_ascii_alphabetic())
        .find(|word| MOMENTS.contains(word))
        .map(str::to_owned)
}

fn unreadable(reason: &Reason) -> Refusal {
    match reason {
        Reason::Unreadable(why) => Refusal::Unreadable(why),
        _ => Refusal::Unreadable("it has something unexpected"),
    }
}

fn begins_like_a_query(tokens: &[(Token, Range<usize>)]) -> Result<(), Refusal> {
    let first = tokens
        .iter()
        .map(|(token, _)| token)
        .find(|token| **token != Token::Symbol('('));
    match first {
        Some(Token::Word(word)) if matches!(&**word, "select" | "values" | "table" | "with") => {
            Ok(())
        }
        Some(Token::Word(word)) => Err(Refusal::NotAQuery(word.to_uppercase())),
        Some(_) => Err(Refusal::NotAQuery("something else".to_owned())),
        None => Err(Refusal::Empty),
    }
}

/// What stands in parentheses, as far as it matters for types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// `cast(... as type)`.
    Cast,
    /// `as x(column type, ...)`, or what follows the word `columns`.
    Columns,
    /// Anything else.
    Other,
}

/// Every name of `schema.type`, wherever it could be one.
fn types(tokens: &[(Token, Range<usize>)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Group> = Vec::new();
    let at = |index: usize| tokens.get(index).map(|(token, _)| token);
    let is_keyword = |token: &Token| matches!(token, Token::Word(word) if is_syntax(word));
    for (index, (token, _)) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).and_then(at);
        let begins = match token {
            Token::Symbol('(') => {
                let earlier = index.checked_sub(2).and_then(at);
                open.push(group(earlier, before, at(index + 1)));
                false
            }
            Token::Symbol(')') => {
                open.pop();
                false
            }
            Token::Symbol(':') => before == Some(&Token::Symbol(':')),
            token if token.is_word("as") => open.last() == Some(&Group::Cast),
            token if token.is_word("returning") => true,
            token if token.is_word("columns") => {
                if let Some(last) = open.last_mut() {
                    *last = Group::Columns;
                }
                false
            }
            // The name of a column, with its type behind it.
            token => {
                open.last() == Some(&Group::Columns) && token.name().is_some() && !is_keyword(token)
            }
        };
        if begins {
            let mut next = index + 1;
            if at(next).is_some_and(|token| token.is_word("setof")) {
                next += 1;
            }
            while let Some(name) = at(next).and_then(Token::name) {
                found.insert(name.to_owned());
                if at(next + 1) != Some(&Token::Symbol('.')) {
                    break;
                }
                next += 2;
            }
        }
        if matches!(at(index + 1), Some(Token::Text(_))) && !is_keyword(token) {
            found.extend(token.name().map(str::to_owned));
        }
    }
    found
}

fn group(earlier: Option<&Token>, before: Option<&Token>, first: Option<&Token>) -> Group {
    let is = |token: Option<&Token>, words: &[&str]| {
        words
            .iter()
            .any(|word| token.is_some_and(|token| token.is_word(word)))
    };
    if is(before, &["cast", "treat", "xmlserialize"]) {
        return Group::Cast;
    }
    let query = ["select", "values", "table", "with"];
    let named = before.is_some_and(|token| {
        token.name().is_some() && !matches!(token, Token::Word(word) if is_syntax(word))
    });
    let alias = is(before, &["as", "columns"])
        || (named && (is(earlier, &["as"]) || earlier == Some(&Token::Symbol(')'))));
    if alias && !is(first, &query) {
        Group::Columns
    } else {
        Group::Other
    }
}

/// Operators that the grammar brings with a word.
const IMPLIED: &[(&str, &[&str])] = &[
    ("between", &["<", "<=", ">", ">="]),
    ("case", &["="]),
    ("distinct", &["="]),
    ("ilike", &["~~*", "!~~*"]),
    ("in", &["=", "<>"]),
    ("like", &["~~", "!~~"]),
    ("natural", &["="]),
    ("nullif", &["="]),
    ("similar", &["~", "!~"]),
    ("using", &["="]),
];

/// Runs of operator characters without anything between them. Where PostgreSQL would end an operator
/// earlier (a sign behind it), its beginning is one of these as well.
fn operators(tokens: &[(Token, Range<usize>)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut run = String::new();
    let mut end = 0;
    for (token, place) in tokens {
        match token {
            Token::Symbol(c) if OPERATOR.contains(*c) => {
                if place.start != end {
                    run.clear();
                }
                run.push(*c);
                end = place.end;
                for start in 0..run.len() {
                    if run.is_char_boundary(start) {
                        found.insert(run[start..].to_owned());
                    }
                }
            }
            Token::Word(word) => {
                run.clear();
                let implied = IMPLIED.iter().find(|(keyword, _)| keyword == word);
                found.extend(implied.into_iter().flat_map(|(_, operators)| {
                    operators.iter().map(|operator| (*operator).to_owned())
                }));
            }
            _ => run.clear(),
        }
    }
    // It is written in two ways.
    if found.contains("!=") {
        found.insert("<>".to_owned());
    }
    found
}

#[cfg(test)]
mod tests;
