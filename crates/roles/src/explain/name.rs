//! Names as people write them, taken apart as SQL does.

use super::ExplainError;

/// `a."B".c` into its parts: unquoted ones folded to lower case. Not by the server's `parse_ident`,
/// because that raises, and an error there would end the transaction.
pub fn parts(text: &str) -> Result<Vec<String>, ExplainError> {
    let wrong = || ExplainError::Name(text.to_owned());
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let part = if let Some(quoted) = rest.strip_prefix('"') {
            let mut part = String::new();
            let mut after = quoted;
            loop {
                let end = after.find('"').ok_or_else(wrong)?;
                part.push_str(&after[..end]);
                after = &after[end + 1..];
                match after.strip_prefix('"') {
                    Some(more) => {
                        part.push('"');
                        after = more;
                    }
                    None => break,
                }
            }
            rest = after;
            part
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after;
            if !part
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
            {
                return Err(wrong());
            }
            part.to_lowercase()
        };
        if part.is_empty() {
            return Err(wrong());
        }
        parts.push(part);
        rest = match rest.strip_prefix('.') {
            Some(rest) => rest,
            None if rest.is_empty() => return Ok(parts),
            None => return Err(wrong()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        for (text, expected) in [
            ("Orders", vec!["orders"]),
            ("api.orders", vec!["api", "orders"]),
            (" \"Api\".\"a.b\"\"c\" ", vec!["Api", "a.b\"c"]),
            ("größe.x$1", vec!["größe", "x$1"]),
        ] {
            assert_eq!(parts(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "", ".", "a.", ".a", "a b", "a;b", "\"a", "\"\"", "\"a\"b", "a..b", "a'",
        ] {
            assert!(matches!(parts(text), Err(ExplainError::Name(_))), "{text}");
        }
    }
}
