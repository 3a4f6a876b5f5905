//! Nothing that is written, and nothing that comes, costs more than it may.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rolegate_rules::{
    CallbackRules, Expression, MAX_PAYLOAD, MAX_TEXT, NotJudged, Reason, Verdict,
};

/// Of a machine that builds and tests other things, too, without optimization.
const LONG: Duration = Duration::from_secs(10);

/// On a stack as small as a thread of the server's, or smaller.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    thread.spawn(work).unwrap().join().unwrap()
}

fn judge(rules: CallbackRules, payload: String) -> Result<Verdict, NotJudged> {
    on_a_small_stack(move || {
        let began = Instant::now();
        let judged = rules.compile().unwrap().judge(Some(&payload));
        assert!(began.elapsed() < LONG, "{:?} {rules:?}", began.elapsed());
        judged
    })
}

fn reason(expression: &str, payload: &str) -> Reason {
    let rules = CallbackRules::new().transform(expression);
    let judged = judge(rules, payload.to_owned());
    judged
        .expect_err(&expression[..expression.len().min(80)])
        .reason
}

#[test]
fn texts_are_bounded() {
    let too_long = |text: &str| Expression::compile(text).unwrap_err().to_string();
    let sum = |n: usize| format!("[{}1]", "1,".repeat(n));
    assert!(
        Expression::compile(&" ".repeat(MAX_TEXT - 1))
            .unwrap_err()
            .to_string()
            .contains("end of")
    );
    assert!(too_long(&" ".repeat(MAX_TEXT + 1)).contains("longer than 4096 bytes"));
    assert!(Expression::compile(&sum(400)).is_ok());
    assert!(too_long(&sum(500)).contains("more than 500 parts"));
    // A row of them is one level.
    assert!(Expression::compile(&format!("true{}", "&&true".repeat(200))).is_ok());
    let nested = |n: usize| format!("{}1{}", "[1].map(x, ".repeat(n), ")".repeat(n));
    assert!(Expression::compile(&nested(3)).is_ok());
    assert!(too_long(&nested(4)).contains("within each other"));
    let pattern = |n: usize| format!("'a'.matches('{}')", "a".repeat(n));
    assert!(Expression::compile(&pattern(256)).is_ok());
    assert!(too_long(&pattern(257)).contains("at most 256 bytes"));
    assert!(too_long("'a'.matches('(((a{9}){9}){9}){9}')").contains("no pattern that can be used"));
}

#[test]
fn depth_is_bounded_on_every_way() {
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{'a':", "1", "}"),
        ("!", "true", ""),
        ("-", "1", ""),
        ("- ", "payload", ""),
        ("size(", "1", ")"),
        ("true?", "1", ":1"),
        ("true?1:", "1", ""),
        ("1+(", "1", ")"),
        ("1==", "1", ""),
        ("1+", "1", ""),
        ("", "payload", ".a"),
        ("", "payload", "[0]"),
        ("payload[", "1", "]"),
        ("has(payload.a[", "1", "].a)"),
        ("", "[1]", ".map(x,x)"),
        ("[1].map(x,", "x", ")"),
        ("(((((", "1", ")))))"),
    ] {
        for times in [40, 60, 200, 1300] {
            let text = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
            let compiled = on_a_small_stack(move || {
                let compiled = Expression::compile(&text);
                compiled.map(|_| ()).map_err(|error| error.to_string())
            });
            // As far as it can be nested: a row of conditions is none, and macros end before.
            if times >= 60 {
                let error = compiled.expect_err(&format!("{open} {times}"));
                let bounds = [
                    "deeper than 48",
                    "within each other",
                    "longer than",
                    "500 parts",
                ];
                let expected = bounds.iter().any(|bound| error.contains(bound));
                let unfit = error.contains("where `:` was expected");
                assert!(expected || unfit, "{open} {times}: {error}");
            }
        }
    }
}

#[test]
fn payloads_are_bounded() {
    let rules = || CallbackRules::new().filter("true");
    let text = |bytes: usize| format!("\"{}\"", "a".repeat(bytes - 2));
    assert!(judge(rules(), text(MAX_PAYLOAD)).is_ok());
    let reason = |payload: String| {
        let error = judge(rules(), payload).unwrap_err();
        assert_eq!(error.rule, "payload");
        error.reason
    };
    assert_eq!(reason(text(MAX_PAYLOAD + 1)), Reason::TooLarge);
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(judge(rules(), nested(64)).is_ok());
    assert_eq!(reason(nested(65)), Reason::TooDeep);
    assert_eq!(reason(nested(100_000)), Reason::TooDeep);
    for bad in ["", "{", "[1,]", "\"\\ud800\"", "nul", "{'a': 1}", "1 2"] {
        assert_eq!(reason(bad.to_owned()), Reason::Malformed, "{bad}");
    }
    // As deep as it may be, and as large.
    let wide = format!(
        "{}{}{}",
        "[".repeat(60),
        "1,".repeat(120_000) + "1",
        "]".repeat(60)
    );
    assert!(judge(rules(), wide).is_ok());
}

#[test]
fn work_is_bounded() {
    let numbers = format!("[{}1]", "1,".repeat(9_999));
    let long = format!("\"{}\"", "a".repeat(200_000));
    let map = {
        let members: Vec<_> = (0..20)
            .map(|n| format!("\"{}{n}\":1", "k".repeat(9_000)))
            .collect();
        format!("{{{}}}", members.join(","))
    };
    let alike = format!(
        "{{\"list\": [{}0], \"a\": \"{x}a\", \"b\": \"{x}b\"}}",
        "0,".repeat(30_000),
        x = "x".repeat(90_000)
    );
    let doubled = |times: usize| format!("[payload]{}", ".map(a, a + a)".repeat(times));
    for (expression, payload) in [
        // Every pair.
        ("payload.map(x, payload.map(y, x + y))".to_owned(), &numbers),
        ("payload.all(x, payload.all(y, payload.all(z, x == y)))".to_owned(), &numbers),
        // Errors that others make up for do not hide it.
        ("payload.exists(x, payload.exists(y, y.a)) || true".to_owned(), &numbers),
        ("true && (false || payload.all(x, size(payload + [x]) > 0))".to_owned(), &numbers),
        // Twice as long each time: 2^40 times.
        (doubled(40), &long),
        (doubled(40), &numbers),
        // Made once, and looked at more often than there is time for.
        ("payload.map(x, payload) == payload.map(x, payload)".to_owned(), &numbers),
        ("[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, payload + 'a')))".to_owned(), &long),
        ("[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, !payload.contains('ab'))))".to_owned(), &long),
        ("payload.all(a, payload.all(b, payload[a] == payload[b] && b in payload))".to_owned(), &map),
        ("payload.matches('(a?){20}a{20}$')".to_owned(), &long),
        // Keys that differ at their end.
        ("size(payload.list.map(x, {payload.a: 1, payload.b: 2}))".to_owned(), &alike),
    ] {
        assert_eq!(reason(&expression, payload), Reason::TooCostly, "{expression}");
    }
    let wide = format!("[payload]{}", ".map(a, [a,a])".repeat(30));
    assert!(matches!(
        reason(&wide, "1"),
        Reason::TooCostly | Reason::TooLarge
    ));
    // What nobody would mind.
    let rules = CallbackRules::new()
        .filter("payload.all(x, x == 1)")
        .transform("payload.map(x, x + 1)");
    assert!(judge(rules, numbers).is_ok());
}

#[test]
fn results_are_bounded() {
    let large = format!("\"{}\"", "a".repeat(MAX_PAYLOAD - 100));
    assert_eq!(reason("payload + payload", &large), Reason::TooLarge);
    assert_eq!(reason("[payload, payload]", &large), Reason::TooLarge);
    // Of ten thousand references each is small.
    let numbers = format!("[{}1]", "1,".repeat(9_999));
    assert_eq!(
        reason("payload.map(x, payload)", &numbers),
        Reason::TooLarge
    );
    let deep = format!("[payload]{}", ".map(a, [a])".repeat(40));
    let nested = format!("{}{}", "[".repeat(60), "]".repeat(60));
    assert_eq!(reason(&deep, &nested), Reason::TooDeep);
}
