//! Whether the order of a result means something.

use rolegate_sql::token::{Token, tokens};

use crate::text::Text;

/// Whether the text has an `order by` of its own, and not only in a window, an aggregate or a subquery.
pub fn is_ordered(text: &Text) -> bool {
    let Ok(tokens) = tokens(&text.sql) else {
        return false;
    };
    let mut depth = 0_usize;
    tokens.windows(2).any(|pair| {
        match &pair[0] {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            word if depth == 0 && word.is_word("order") => return pair[1].is_word("by"),
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_statements_own_order_counts() {
        for (sql, ordered) in [
            ("select a from t order by a", true),
            (
                "with x as (select 1) select a from t union select 2 ORDER  BY 1 limit 3",
                true,
            ),
            ("select a from t", false),
            ("select row_number() over (order by a) from t", false),
            (
                "select array_agg(a order by a) from (select a from t order by a) s",
                false,
            ),
            ("select \"order\" by from t", false),
            ("select 'order by' from t", false),
        ] {
            let text = Text::read(sql).expect("a query");
            assert_eq!(is_ordered(&text), ordered, "{sql}");
        }
    }
}
