//! Which claims of a caller a text reads.
//!
//! Callers whose claims agree in these get the same rows, so one run serves them all. It runs with these claims
//! and no others: whatever is overlooked here reads NULL, and never what another caller has.

use std::collections::BTreeSet;

use rolegate_sql::token::{Token, tokens};

/// What a text reads of the claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimsRead {
    /// These, by their names; none if it is empty.
    Only(BTreeSet<String>),
    /// It can't be told.
    All,
}

impl Default for ClaimsRead {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl ClaimsRead {
    /// What an expression or a statement reads by `claim('name')` and `claims() ->> 'name'`.
    pub fn of(sql: &str) -> Self {
        let Ok(tokens) = tokens(sql) else {
            return Self::All;
        };
        let mut names = BTreeSet::new();
        for index in 0..tokens.len() {
            let name = match (tokens[index].name(), tokens.get(index + 1)) {
                (Some("claim"), Some(Token::Symbol('('))) => argument(&tokens[index + 2..]),
                (Some("claims"), Some(Token::Symbol('('))) => member(&tokens[index + 2..]),
                _ => continue,
            };
            match name {
                Some(name) => names.insert(name.to_owned()),
                None => return Self::All,
            };
        }
        Self::Only(names)
    }

    /// What both read.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(mut names), Self::Only(more)) => {
                names.extend(more);
                Self::Only(names)
            }
            _ => Self::All,
        }
    }
}

/// `'name')`, behind the parenthesis.
fn argument(tokens: &[Token]) -> Option<&str> {
    let (name, rest) = constant(tokens)?;
    matches!(rest.first(), Some(Token::Symbol(')'))).then_some(name)
}

/// `) ->> 'name'`, behind the parenthesis, with nothing behind it that binds closer than the arrow.
fn member(tokens: &[Token]) -> Option<&str> {
    let rest = after(tokens, &[')', '-', '>'])?;
    let rest = after(rest, &['>']).unwrap_or(rest);
    let (name, rest) = constant(rest)?;
    let ends = match rest.first() {
        None => true,
        Some(Token::Symbol('-')) => rest.get(1) == Some(&Token::Symbol('>')),
        Some(Token::Symbol(symbol)) => !".:[+*/%^".contains(*symbol),
        Some(Token::Word(word)) => !matches!(&**word, "at" | "collate" | "uescape"),
        Some(_) => false,
    };
    ends.then_some(name)
}

/// A string that means what it says, as it is or cast to text.
fn constant(tokens: &[Token]) -> Option<(&str, &[Token])> {
    let (Token::Text(name), rest) = tokens.split_first()? else {
        return None;
    };
    let plain = name
        .chars()
        .all(|c| c.is_alphanumeric() || "_-.:/".contains(c));
    if !plain || matches!(rest.first(), Some(Token::Text(_))) {
        return None;
    }
    match after(rest, &[':', ':']) {
        None => Some((name, rest)),
        Some([text, rest @ ..]) if text.is_word("text") => Some((name, rest)),
        Some(_) => None,
    }
}

fn after<'t>(tokens: &'t [Token], symbols: &[char]) -> Option<&'t [Token]> {
    let (start, rest) = tokens.split_at_checked(symbols.len())?;
    let same = start
        .iter()
        .zip(symbols)
        .all(|(token, symbol)| *token == Token::Symbol(*symbol));
    same.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> ClaimsRead {
        ClaimsRead::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn names_that_are_written_down_are_found() {
        for (sql, names) in [
            ("org = 7 and claimant = current_user", &[][..]),
            ("org = (select rolegate.claim('org'))::int", &["org"]),
            (
                "(org = ((SELECT (rolegate.claims() ->> 'org'::text) AS \"?column?\"))::integer)",
                &["org"],
            ),
            (
                "a = rolegate.claim('sub'::text) or b = rolegate.\"claims\"() -> 'app' ->> 'team'",
                &["app", "sub"],
            ),
            (
                "rolegate.claims() ->> 'a' = rolegate.claims() ->> 'b'",
                &["a", "b"],
            ),
            // A name, and not a call.
            ("select claims from api.claim", &[]),
        ] {
            assert_eq!(ClaimsRead::of(sql), only(names), "{sql}");
        }
    }

    #[test]
    fn whatever_could_be_another_name_reads_all_of_them() {
        for sql in [
            "rolegate.claim(org)",
            "rolegate.claim($1)",
            "rolegate.claim('o' || 'rg')",
            "rolegate.claim('a'\n'b')",
            "rolegate.claim(E'\\x6f')",
            "rolegate.claim('it''s')",
            "rolegate.claim('organization'::varchar(3))",
            "rolegate.claim(name => 'org')",
            "rolegate.claims()",
            "select * from rolegate.claims() c",
            "rolegate.claims() @> '{\"a\": 1}'",
            "rolegate.claims() #>> '{a}'",
            "rolegate.claims() ->> 'a'\n'b'",
            "rolegate.claims() ->> 'organization'::varchar(3)",
            "rolegate.claims() ->> 'a' collate \"C\"",
            "rolegate.claims() -> '1' - '0'",
            "rolegate.claims() ->> name",
            "rolegate.claim('org') = U&'x'",
        ] {
            assert_eq!(ClaimsRead::of(sql), ClaimsRead::All, "{sql}");
        }
    }

    #[test]
    fn two_texts_together_read_what_each_reads() {
        let both = only(&["a"]).and(only(&["b"]));
        assert_eq!(both, only(&["a", "b"]));
        assert_eq!(both.and(ClaimsRead::All), ClaimsRead::All);
    }
}
