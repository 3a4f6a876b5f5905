//! What the rules of a wait make of an answer.

#![allow(clippy::unwrap_used, clippy::unnecessary_wraps)]

use rolegate_rules::{CallbackRules, DefaultAction, NotJudged, Reason, Verdict};

fn judge(rules: &CallbackRules, payload: &str) -> Result<Verdict, NotJudged> {
    rules.compile().unwrap().judge(Some(payload))
}

fn accepted(payload: &str) -> Result<Verdict, NotJudged> {
    let payload = Some(payload.to_owned());
    Ok(Verdict::Accepted { payload })
}

fn failed(rule: &'static str) -> Result<Verdict, NotJudged> {
    Ok(Verdict::Failed { rule })
}

fn payment() -> CallbackRules {
    CallbackRules::new()
        .filter("payload.order == 17")
        .on_fail("payload.status == 'declined'")
        .on_complete("payload.status == 'paid'")
        .transform("{'receipt': payload.receipt, 'total': payload.total}")
}

#[test]
fn an_answer_counts_fails_or_is_ignored() {
    let rules = payment();
    let of = |status: &str| {
        judge(
            &rules,
            &format!(r#"{{"order": 17, "status": "{status}", "receipt": "r", "total": 1.10}}"#),
        )
    };
    // A number keeps its text.
    assert_eq!(of("paid"), accepted(r#"{"receipt":"r","total":1.10}"#));
    assert_eq!(of("declined"), failed("on_fail"));
    assert_eq!(of("pending"), Ok(Verdict::Ignored));
    assert_eq!(judge(&rules, r#"{"order": 18}"#), Ok(Verdict::Ignored));
}

#[test]
fn what_neither_rule_holds_for_is_decided_by_the_default() {
    let other = r#"{"status": "pending"}"#;
    let paid = "payload.status == 'paid'";
    for (rules, expected) in [
        (CallbackRules::new(), accepted(other)),
        (CallbackRules::new().on_fail(paid), accepted(other)),
        (CallbackRules::new().on_complete(paid), Ok(Verdict::Ignored)),
        (
            CallbackRules::new().otherwise(DefaultAction::Fail),
            failed("default"),
        ),
        (
            CallbackRules::new().otherwise(DefaultAction::Ignore),
            Ok(Verdict::Ignored),
        ),
        (
            CallbackRules::new()
                .on_complete(paid)
                .otherwise(DefaultAction::Complete),
            accepted(other),
        ),
    ] {
        assert_eq!(judge(&rules, other), expected, "{rules:?}");
    }
    // `on_fail` is asked first.
    let both = CallbackRules::new().on_fail("true").on_complete("true");
    assert_eq!(judge(&both, "null"), failed("on_fail"));
}

#[test]
fn no_payload_is_null_and_what_is_not_transformed_is_as_it_was() {
    let rules = CallbackRules::new().compile().unwrap();
    assert_eq!(rules.judge(None), Ok(Verdict::Accepted { payload: None }));
    let odd = r#" {"b": 1e2, "a": 1.10,  "a": 2} "#;
    assert_eq!(judge(&CallbackRules::new(), odd), accepted(odd));
    let null = CallbackRules::new().transform("payload == null").compile();
    let judged = null.unwrap().judge(None);
    assert_eq!(judged, accepted("true"));
    // Of two members with one name the last counts, as in the database.
    let rules = CallbackRules::new().transform("payload");
    assert_eq!(judge(&rules, odd), accepted(r#"{"a":2,"b":1e2}"#));
    let large = "[12345678901234567890.10, -0, 1e400, 9223372036854775808, 1E5]";
    assert_eq!(judge(&rules, large), accepted(&large.replace(' ', "")));
}

#[test]
fn a_rule_without_a_value_decides_nothing() {
    for (rules, payload, rule, reason, place) in [
        (payment(), "{}", "filter", Reason::NoSuchKey, (1, 9)),
        (payment(), "5", "filter", Reason::WrongType, (1, 9)),
        (
            payment().filter("payload.order"),
            r#"{"order": "17"}"#,
            "filter",
            Reason::NotBoolean,
            (1, 9),
        ),
        (
            payment().on_complete("true &&\n payload.ä.b == 1".replace('ä', "x")),
            r#"{"order": 17, "status": "x", "x": 1}"#,
            "on_complete",
            Reason::WrongType,
            (2, 12),
        ),
        (
            payment(),
            r#"{"order": 17, "status": "paid"}"#,
            "transform",
            Reason::NoSuchKey,
            (1, 21),
        ),
        (
            CallbackRules::new().transform("[type(1)]"),
            "null",
            "transform",
            Reason::NotJson,
            (1, 1),
        ),
        (
            CallbackRules::new().transform("{1: 2}"),
            "null",
            "transform",
            Reason::NotJson,
            (1, 1),
        ),
        (
            CallbackRules::new().on_fail("1.0 / 0.0 > 1.0 && 1 / 0 == 1"),
            "null",
            "on_fail",
            Reason::DivisionByZero,
            (1, 22),
        ),
    ] {
        let place = Some(place);
        let expected = NotJudged {
            rule,
            reason,
            place,
        };
        assert_eq!(judge(&rules, payload), Err(expected), "{rules:?} {payload}");
    }
    let error = judge(&payment(), "{}").unwrap_err();
    assert_eq!(error.to_string(), "`filter`, line 1, column 9: no_such_key");
    let error = judge(&payment(), "{").unwrap_err();
    assert_eq!(error.to_string(), "`payload`: malformed");
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for (text, expected) in [
        (
            "",
            "line 1, column 1: found the end of the expression where a value was expected",
        ),
        (
            "payload.a ==",
            "line 1, column 13: found the end of the expression where a value was expected",
        ),
        ("payload.a = 1", "line 1, column 11: `=` means nothing here"),
        (
            "order == 1",
            "line 1, column 1: there is no variable `order`; there is `payload`",
        ),
        (
            "true &&\n\n  'ä' == x",
            "line 3, column 10: there is no variable `x`; there is `payload`",
        ),
        (
            "payload.all(p, p) && p",
            "line 1, column 22: there is no variable `p`; there is `payload`",
        ),
        (
            "timestamp(payload.at)",
            "line 1, column 1: there is no function `timestamp` here",
        ),
        (
            "payload.at.getHours()",
            "line 1, column 12: there is no function `getHours` here",
        ),
        (
            "size(1, 2)",
            "line 1, column 1: `size` does not take this number of arguments",
        ),
        (
            "has(payload)",
            "line 1, column 1: `has` takes a selection, such as `payload.status`",
        ),
        (
            "payload.?a",
            "line 1, column 8: there are no optional values here; ask with `has`",
        ),
        (
            "1u",
            "line 1, column 1: there are no unsigned numbers here; leave the `u` out",
        ),
        ("12ab", "line 1, column 1: this is no number"),
        ("'\\q'", "line 1, column 2: this is no escape of CEL's"),
        (
            "'a\nb'",
            "line 1, column 1: this text does not end on its line",
        ),
        (
            "payload.a.matches(payload.b)",
            "line 1, column 27: the pattern of `matches` has to be written out, as a text",
        ),
        (
            "payload while",
            "line 1, column 9: found `while` where the end of the expression was expected",
        ),
        (
            "payload.map(true, 1)",
            "line 1, column 13: `true` can't be a name",
        ),
    ] {
        let error = CallbackRules::new().filter(text).compile().unwrap_err();
        assert_eq!(
            (error.rule, &*error.error.to_string()),
            ("filter", expected),
            "{text}"
        );
    }
    let error = CallbackRules::new()
        .transform("payload.")
        .compile()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`transform`, line 1, column 9: "),
        "{error}"
    );
}

#[test]
fn patterns_are_those_of_the_expression() {
    let rules = CallbackRules::new()
        .filter(r#"payload.id.matches(r"^o-\d+$") || matches(payload.id, 'x')"#);
    for (id, meant) in [("o-17", true), ("o-", false), ("an x", true)] {
        let ignored = judge(&rules, &format!(r#"{{"id": "{id}"}}"#)) == Ok(Verdict::Ignored);
        assert_eq!(!ignored, meant, "{id}");
    }
    assert_eq!(
        judge(&rules, r#"{"id": 1}"#).unwrap_err().reason,
        Reason::WrongType
    );
    let error = CallbackRules::new()
        .filter("payload.matches('(')")
        .compile();
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("no pattern that can be used")
    );
}

#[test]
fn rules_are_json() {
    let text = r#"{"filter":"true","on_complete":"payload.a","default":"ignore","terminal":true}"#;
    let rules: CallbackRules = serde_json::from_str(text).unwrap();
    let built = CallbackRules::new()
        .filter("true")
        .on_complete("payload.a")
        .otherwise(DefaultAction::Ignore)
        .terminal();
    assert_eq!(rules, built);
    assert_eq!(serde_json::to_string(&rules).unwrap(), text);
    assert_eq!(serde_json::to_string(&CallbackRules::new()).unwrap(), "{}");
    assert!(serde_json::from_str::<CallbackRules>(r#"{"on_error": "true"}"#).is_err());
}
