//! Names behind a point. `row.name` and `(value).name` are calls of `name(value)` if there is no such column, and casts
//! to a type of the name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rolegate_sql::is_harmless_builtin;
use rolegate_sql::token::Token;

use super::SESSION_WORDS;

type Tokens<'t> = &'t [(Token, Range<usize>)];

/// Those that could be taken from a value that is no row: from an expression, or from what stands for a function in
/// FROM, whose rows can be single values. In front of all others stands a table or a subquery.
pub(super) fn of_values(tokens: Tokens<'_>, types: &BTreeSet<String>) -> BTreeSet<String> {
    // What the grammar writes without a name has one of PostgreSQL's: `from trim(x)` is btrim, `from cast(x as t)` is t.
    let is_own = |alias: &str| {
        is_harmless_builtin(alias)
            || is_session(alias)
            || alias == "pg_collation_for"
            || types.contains(alias)
    };
    let aliases = function_aliases(tokens);
    let mut found = BTreeSet::new();
    for index in 1..tokens.len() {
        if !is_point(tokens, index - 1) {
            continue;
        }
        let Some(name) = tokens[index].0.name() else {
            continue;
        };
        // Names with points between them, back to the first.
        let mut first = index;
        let mut is_row = true;
        while is_row && first > 0 && is_point(tokens, first - 1) {
            is_row = first > 1 && tokens[first - 2].0.name().is_some();
            first = first.saturating_sub(2);
        }
        // More than two: `schema.table.column`.
        let alias = (first + 2 == index)
            .then(|| tokens[first].0.name())
            .flatten();
        let is_value = |alias: &str| match aliases.get(alias) {
            Some(columns) => !columns.contains(name),
            None => is_own(alias),
        };
        if !is_row || alias.is_some_and(is_value) {
            found.extend([name.to_owned(), name.to_lowercase()]);
        }
    }
    found
}

fn is_point(tokens: Tokens<'_>, index: usize) -> bool {
    matches!(tokens[index].0, Token::Symbol('.') | Token::Range)
}

/// Names that could stand for a function in FROM: its own, and what follows a parenthesis that is not that of a
/// subquery. With the columns that are given to it wherever it stands.
fn function_aliases(tokens: Tokens<'_>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut open: Vec<bool> = Vec::new();
    // Whether the last parenthesis that was closed was that of a subquery.
    let mut closed_query = false;
    for (index, (token, _)) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1).map(|(token, _)| token);
        match token {
            Token::Symbol('(') => open.push(begins_query(next, tokens.get(index + 2))),
            Token::Symbol(')') => closed_query = open.pop().unwrap_or(false),
            _ => {}
        }
        let Some(name) = token.name() else { continue };
        let before = |back: usize| index.checked_sub(back).map(|at| &tokens[at].0);
        let behind_as = before(1).is_some_and(|token| token.is_word("as"));
        let behind = before(if behind_as { 2 } else { 1 });
        let has_list = next == Some(&Token::Symbol('('));
        let (stands_for_function, columns) = match behind {
            Some(Token::Symbol(')')) => (!closed_query, has_list),
            Some(Token::Word(word)) if word == "ordinality" || is_session(word) => (true, has_list),
            _ => (!behind_as && has_list, false),
        };
        if !stands_for_function {
            continue;
        }
        let columns = if columns {
            list(tokens, index + 1)
        } else {
            BTreeSet::new()
        };
        let all = found.entry(name).or_insert_with(|| columns.clone());
        all.retain(|column| columns.contains(column));
    }
    found
}

/// The names that begin the parts of a list in parentheses.
fn list(tokens: Tokens<'_>, open: usize) -> BTreeSet<&str> {
    let mut depth = 0_usize;
    let mut found = BTreeSet::new();
    for pair in tokens[open..].windows(2) {
        match pair[0].0 {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].0, Token::Symbol('(' | ',')) {
            found.extend(pair[1].0.name());
        }
    }
    found
}

/// Names in front of a parenthesis that are not those of a common table, or of an alias with its columns.
pub(super) fn certainly_called(tokens: Tokens<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for index in 0..tokens.len() {
        let is = |at: Option<usize>, word: &str| {
            at.and_then(|at| tokens.get(at))
                .is_some_and(|(token, _)| token.is_word(word))
        };
        let symbol = |at: Option<usize>, symbol: char| {
            at.and_then(|at| tokens.get(at))
                .is_some_and(|(token, _)| *token == Token::Symbol(symbol))
        };
        let Some(name) = tokens[index].0.name() else {
            continue;
        };
        let before = index.checked_sub(1);
        if !symbol(Some(index + 1), '(') {
            continue;
        }
        let table = is(before, "with") || is(before, "recursive") || symbol(before, ',');
        let alias = (symbol(before, ')') || is(before, "as"))
            || (table && is_common_table(tokens, index + 1));
        if !alias {
            found.insert(name.to_owned());
        }
    }
    found
}

/// Whether what follows the parentheses is `as (` or `as [not] materialized (`.
fn is_common_table(tokens: Tokens<'_>, open: usize) -> bool {
    let mut depth = 0_usize;
    for (index, (token, _)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let mut behind = tokens[index + 1..].iter().map(|(token, _)| token);
            return behind.next().is_some_and(|token| token.is_word("as"))
                && behind.next().is_some_and(|token| {
                    *token == Token::Symbol('(')
                        || token.is_word("not")
                        || token.is_word("materialized")
                });
        }
    }
    false
}

fn is_session(word: &str) -> bool {
    SESSION_WORDS.contains(&word)
}

fn begins_query(first: Option<&Token>, second: Option<&(Token, Range<usize>)>) -> bool {
    let is = |word: &str| first.is_some_and(|token| token.is_word(word));
    let is_list = second.is_some_and(|(token, _)| *token == Token::Symbol('('));
    is("select") || is("with") || is("table") || (is("values") && is_list)
}
