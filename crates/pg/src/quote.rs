//! The one place that turns names and texts into SQL.

/// Quotes an identifier, always, so that no list of keywords is needed.
///
/// A NUL byte can be in no identifier; it is dropped, and the name then simply does not exist.
pub fn ident(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        match c {
            '\0' => {}
            '"' => quoted.push_str("\"\""),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Quotes `schema.name`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// Quotes a string literal, for statements that take no parameters (DDL).
///
/// Uses the escape form when there is a backslash, so that the result does not depend on
/// `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 3);
    if text.contains('\\') {
        quoted.push_str(" E");
    }
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\0' => {}
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            _ => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_nothing_else_changes() {
        assert_eq!(ident("a"), "\"a\"");
        assert_eq!(ident("a\"; drop table x --"), "\"a\"\"; drop table x --\"");
        assert_eq!(ident("a\0b"), "\"ab\"");
        assert_eq!(qualified("s", "f"), "\"s\".\"f\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), " E'a\\\\b'");
    }
}
