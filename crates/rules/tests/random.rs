//! Nothing that is written makes it panic.

use proptest::prelude::*;
use rolegate_rules::{CallbackRules, Expression, Verdict};
use serde_json::json;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_an_expression_or_is_refused(text in "\\PC{0,60}") {
        let _ = Expression::compile(&text);
    }

    /// What is quoted means itself and nothing else.
    #[test]
    fn a_literal_is_the_value(text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}|[\"'\\\\ux0-9n]{0,9}", number: i64, rate: f64) {
        let value = json!({"text": [text], "n": number, "d": if rate.is_finite() { rate } else { 0.5 }});
        let rules = CallbackRules::new().filter(format!("payload == {}", CallbackRules::literal(&value)));
        let judged = rules.compile().expect("an expression").judge(Some(&value.to_string()));
        prop_assert!(matches!(judged, Ok(Verdict::Accepted { .. })), "{value} {judged:?}");
    }

    #[test]
    fn and_so_is_any_row_of_tokens(parts in prop::collection::vec(prop::sample::select(vec![
        "payload", ".", "a", "(", ")", "[", "]", "{", "}", ",", ":", "?", "+", "-", "!", "&&", "||",
        "==", "in", "1", "0x", "1.5", "1e", "'a'", "\"", "'''", "r'", "\\", "has", "all", "map", "x",
        "matches", "size", "true", "null", "//", "\n", " ", "ä",
    ]), 0..24), payload in prop::sample::select(vec!["null", "{\"a\": [1, {\"a\": 2}]}", "[1, 2]", "1e999"])) {
        let text = parts.concat();
        if let Ok(rules) = CallbackRules::new().transform(text).compile() {
            let _ = rules.judge(Some(payload));
        }
    }
}
