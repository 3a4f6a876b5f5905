//! Names behind a point. `row.name` and `(value).name` are calls of `name(value)` if there is no such column, and casts
//! to a type of the name.

use std::collections::BTreeSet;
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
        let alias = (first + 2 == index).then(|| tokens[first].0.name()).flatten();
        if !is_row || alias.is_some_and(|alias| aliases.contains(alias) || is_own(alias)) {
            found.extend([name.to_owned(), name.to_lowercase()]);
        }
    }
    found
}

fn is_point(tokens: Tokens<'_>, index: usize) -> bool {
    matches!(tokens[index].0, Token::Symbol('.') | Token::Range)
}

/// Names that could stand for a function in FROM: its own, and what follows a parenthesis that is not that of a
/// subquery.
fn function_aliases(tokens: Tokens<'_>) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
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
        let stands_for_function = match behind {
            Some(Token::Symbol(')')) => !closed_query,
            Some(Token::Word(word)) if word == "ordinality" || is_session(word) => true,
            _ => !behind_as && next == Some(&Token::Symbol('(')),
        };
        if stands_for_function {
            found.insert(name);
        }
    }
    found
}

fn is_session(word: &str) -> bool {
    SESSION_WORDS.contains(&word)
}

fn begins_query(first: Option<&Token>, second: Option<&(Token, Range<usize>)>) -> bool {
    let is = |word: &str| first.is_some_and(|token| token.is_word(word));
    let is_list = second.is_some_and(|(token, _)| *token == Token::Symbol('('));
    is("select") || is("with") || is("table") || (is("values") && is_list)
}
