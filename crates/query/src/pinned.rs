//! Columns that a query compares with one value each, so that no other row can matter to it.
//!
//! Only one shape is looked for, word by word: one table, and a condition that is a chain of `and` between simple
//! comparisons. Anything else is not understood here, and depends on every row.

use std::ops::Range;

use rolegate_sql::token::Token;

/// A column that has to be equal to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The column.
    pub column: String,
    /// What it is compared with.
    pub value: PinnedValue,
}

/// A value in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinnedValue {
    /// Digits as they stand there, with a sign.
    Number(String),
    /// A string without escapes, or the word for a truth value.
    Text(String),
    /// The parameter of this number.
    Parameter(usize),
}

/// A query on one table, as far as its text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTable {
    /// The table's name, without its schema.
    pub table: String,
    /// Columns compared with a value; all have to hold.
    pub pinned: Vec<Pinned>,
}

/// Words that make more of a query than rows of one table under one condition.
const MORE: &[&str] = &[
    "all",
    "any",
    "case",
    "between",
    "except",
    "exists",
    "intersect",
    "join",
    "lateral",
    "only",
    "or",
    "some",
    "table",
    "tablesample",
    "union",
    "values",
    "with",
];

/// Words that end the condition.
const BEHIND: &[&str] = &[
    "fetch", "group", "limit", "offset", "order", "having", "window",
];

/// The shape, if the text has it.
pub(crate) fn read(sql: &str, tokens: &[(Token, Range<usize>)]) -> Option<OneTable> {
    let shift = tokens.first()?.1.start;
    let words: Vec<&Token> = tokens.iter().map(|(token, _)| token).collect();
    let unusual =
        |token: &&Token| matches!(token, Token::Word(word) if MORE.contains(&word.as_str()));
    if !words.first()?.is_word("select") || words.iter().any(unusual) {
        return None;
    }
    // One `select` and one `from`: also none in `extract(... from ...)`, which is no loss.
    let count = |word: &str| words.iter().filter(|token| token.is_word(word)).count();
    if count("select") != 1 || count("from") != 1 || count("where") != 1 {
        return None;
    }
    let from = words.iter().position(|token| token.is_word("from"))?;
    let filter = words.iter().position(|token| token.is_word("where"))?;
    let (table, alias) = table(words.get(from + 1..filter)?)?;
    let behind =
        |token: &&Token| matches!(token, Token::Word(word) if BEHIND.contains(&word.as_str()));
    let end = words[filter..]
        .iter()
        .position(behind)
        .map_or(words.len(), |end| filter + end);
    // Behind the condition nothing can add rows, but for what stands in parentheses with a word that begins a query.
    let mut pinned = Vec::new();
    for part in tokens
        .get(filter + 1..end)?
        .split(|(token, _)| token.is_word("and"))
    {
        let (column, rest) = column(part, &table, alias.as_deref())?;
        if let Comparison::Equal(value) = comparison(sql, shift, rest)? {
            pinned.push(Pinned { column, value });
        }
    }
    (!pinned.is_empty()).then_some(OneTable { table, pinned })
}

/// `table`, `schema.table`, each with an alias or without.
fn table(words: &[&Token]) -> Option<(String, Option<String>)> {
    let (name, rest) = match words {
        [_, Token::Symbol('.'), name, rest @ ..] | [name, rest @ ..] => (name.name()?, rest),
        [] => return None,
    };
    let alias = match rest {
        [] => None,
        [alias] => Some(alias.name()?),
        [word, alias] if word.is_word("as") => Some(alias.name()?),
        _ => return None,
    };
    Some((name.to_owned(), alias.map(str::to_owned)))
}

type Part<'t> = &'t [(Token, Range<usize>)];

/// The column at the beginning, and what is said of it.
fn column<'t>(part: Part<'t>, table: &str, alias: Option<&str>) -> Option<(String, Part<'t>)> {
    match part {
        [(of, _), (Token::Symbol('.'), _), (column, _), rest @ ..] => {
            let of = of.name()?;
            (of == alias.unwrap_or(table)).then(|| Some((column.name()?.to_owned(), rest)))?
        }
        [(column, _), rest @ ..] => Some((column.name()?.to_owned(), rest)),
        [] => None,
    }
}

/// A simple comparison of a column with a value.
enum Comparison {
    Equal(PinnedValue),
    Other,
}

fn comparison(sql: &str, shift: usize, part: Part<'_>) -> Option<Comparison> {
    let operator = part
        .iter()
        .take_while(|(token, _)| matches!(token, Token::Symbol('<' | '>' | '=')))
        .count();
    let joined = part[..operator]
        .windows(2)
        .all(|pair| pair[0].1.end == pair[1].1.start);
    let is_equal = operator == 1 && part[0].0 == Token::Symbol('=');
    if !joined || !(1..=2).contains(&operator) {
        return None;
    }
    let text = |place: &Range<usize>| sql.get(place.start - shift..place.end - shift);
    let value = match &part[operator..] {
        [(Token::Number, place)] => PinnedValue::Number(text(place)?.to_owned()),
        [(Token::Symbol('-'), sign), (Token::Number, place)] if sign.end == place.start => {
            // `<-1` would be another operator.
            (sign.start > part[operator - 1].1.end).then(|| text(place))??;
            PinnedValue::Number(format!("-{}", text(place)?))
        }
        [(Token::Text(value), place)] => {
            // `'a'` and nothing else: no `E''`, no quote in it, no two strings on two lines.
            let plain = format!("'{value}'");
            (text(place) == Some(&*plain) && !value.contains(['\'', '\\'])).then_some(())?;
            PinnedValue::Text(value.clone())
        }
        [(Token::Symbol('$'), sign), (Token::Number, place)] if sign.end == place.start => {
            PinnedValue::Parameter(text(place)?.parse().ok()?)
        }
        [(token, _)] if token.is_word("true") || token.is_word("false") => {
            PinnedValue::Text(token.name()?.to_owned())
        }
        _ => return None,
    };
    Some(if is_equal {
        Comparison::Equal(value)
    } else {
        Comparison::Other
    })
}

#[cfg(test)]
mod tests;
