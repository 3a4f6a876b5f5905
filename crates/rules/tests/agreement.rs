//! What is computed is what another implementation of CEL computes.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use rolegate_rules::{CallbackRules, Reason, Verdict};
use serde_json::{Map, Value, json};

/// What expressions of these tests look at.
fn payload() -> Value {
    json!({
        "status": "paid", "amount": 1999, "rate": 0.5, "negative": -3, "ok": true, "nothing": null,
        "items": [{"sku": "a", "count": 2}, {"sku": "b", "count": 0}, {"sku": "c"}],
        "numbers": [3, 1, 2], "words": ["ab", "b", ""], "empty": [], "customer": {"name": "Ann"},
        "text": "Grüße, 世界", "big": 9_223_372_036_854_775_807_i64,
    })
}

/// `None`: there is an error.
fn ours(expression: &str) -> Option<Value> {
    let rules = CallbackRules::new().transform(expression);
    let rules = rules.compile().ok()?;
    match rules.judge(Some(&payload().to_string())) {
        Ok(Verdict::Accepted { payload }) => Some(serde_json::from_str(&payload.unwrap()).unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert_ne!(error.reason, Reason::TooCostly, "{expression}");
            None
        }
    }
}

fn theirs(expression: &str) -> Option<Value> {
    let expression = expression.to_owned();
    // Its parser needs more than two megabytes for thirty parentheses.
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    let thread = thread.spawn(move || {
        let program = cel::Program::compile(&expression).ok()?;
        let mut context = cel::Context::default();
        context.add_variable_from_value("payload", into_cel(&payload()));
        from_cel(&program.execute(&context).ok()?)
    });
    thread.unwrap().join().unwrap()
}

fn into_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => (*value).into(),
        // Its own conversion makes unsigned numbers of these.
        Value::Number(number) => match number.as_i64() {
            Some(int) => int.into(),
            None => number.as_f64().unwrap().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => values.iter().map(into_cel).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            let map: HashMap<String, cel::Value> = members
                .iter()
                .map(|(name, value)| (name.clone(), into_cel(value)))
                .collect();
            cel::Value::Map(map.into())
        }
    }
}

/// `None` for what JSON does not have.
fn from_cel(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => (*value).into(),
        cel::Value::Int(int) => (*int).into(),
        cel::Value::Float(double) => serde_json::Number::from_f64(*double)?.into(),
        cel::Value::String(text) => text.as_str().into(),
        cel::Value::List(values) => values
            .iter()
            .map(from_cel)
            .collect::<Option<Vec<_>>>()?
            .into(),
        cel::Value::Map(entries) => {
            let mut members = Map::new();
            for (key, value) in entries.map.iter() {
                let cel::objects::Key::String(name) = key else {
                    return None;
                };
                members.insert(Arc::unwrap_or_clone(name.clone()), from_cel(value)?);
            }
            members.into()
        }
        _ => return None,
    })
}

#[track_caller]
fn agree(expression: &str) {
    assert_eq!(ours(expression), theirs(expression), "{expression}");
}

const EXPRESSIONS: &[&str] = &[
    "payload",
    "payload.status == 'paid'",
    "payload['status'] == \"paid\"",
    "payload.items[0].sku + payload.items[1]['sku']",
    "payload.items[-1]",
    "payload.items[3]",
    "payload.numbers[1.0]",
    "payload.numbers[1.5]",
    "payload.missing",
    "payload.status.missing",
    "has(payload.missing)",
    "has(payload.customer.name)",
    "has(payload.customer.name.first)",
    "has(payload.missing.name)",
    "payload.amount + 1 - 2 * 3 / 4 % 5",
    "payload.amount / 0",
    "payload.amount % 0",
    "payload.big + 1",
    "-payload.big - 2",
    "-9223372036854775808",
    "9223372036854775808",
    "-(-9223372036854775808)",
    "0x1F + 0xff",
    "1.5 + .5 + 1e3 + 2.5E-1",
    "1.0 / 0.0",
    "1 + 1.0",
    "1 == 1.0 && 1 < 1.5 && 2.5 > 2 && 1 <= 1.0",
    "1 == '1'",
    "1 < '1'",
    "null == null && null != false",
    "null < null",
    "false < true",
    "'a' < 'b' && 'a' < 'aa'",
    "[1] < [2]",
    "[1, 2.0] == [1.0, 2]",
    "{'a': 1} == {'a': 1.0}",
    "{'a': 1, 'a': 2}",
    "{'a': 1,}['a']",
    "[1, 2,][1]",
    "{1: 'one'}[1] + {1: 'one'}[1.0]",
    "{true: 'yes'}[payload.ok]",
    "{1.5: 'x'}",
    "2 in payload.numbers",
    "2.0 in payload.numbers",
    "'name' in payload.customer",
    "1 in payload.customer",
    "'a' in 'abc'",
    "!payload.ok",
    "!!payload.ok",
    "!payload.status",
    "--payload.amount",
    "-payload.status",
    "payload.ok ? 1 : payload.missing",
    "payload.status ? 1 : 2",
    "false ? 1 : true ? 2 : 3",
    "true || payload.missing",
    "payload.missing || true",
    "payload.missing || false",
    "payload.missing && false",
    "payload.missing && true",
    "payload.status && false",
    "false || payload.status",
    "payload.status || true || payload.missing",
    "payload.items.all(i, has(i.count) && i.count >= 0)",
    "payload.items.all(i, i.count > 1)",
    "payload.items.exists(i, i.count == 0)",
    "payload.items.exists(i, i.count == 7)",
    "payload.items.exists_one(i, i.sku == 'a')",
    "payload.items.exists_one(i, i.count == 2)",
    "payload.numbers.exists_one(n, n > 1)",
    "payload.items.map(i, i.sku)",
    "payload.items.map(i, has(i.count), i.count * 2)",
    "payload.items.filter(i, has(i.count) && i.count > 0)",
    "payload.numbers.map(x, payload.numbers.map(y, x * y))",
    "payload.numbers.map(x, payload.words.filter(w, size(w) < x))",
    "payload.numbers.map(payload, payload + 1)",
    "payload.numbers.filter(x, x)",
    "payload.status.map(x, x)",
    "payload.empty.all(x, x.y) && !payload.empty.exists(x, x.y)",
    "payload.customer.map(k, payload.customer[k])",
    "size(payload.text) + size(payload.items) + payload.customer.size()",
    "size(1)",
    "payload.text.contains('世') && payload.text.startsWith('Gr') && payload.text.endsWith('界')",
    "payload.status.contains(1)",
    "contains(payload.status, 'a')",
    "payload.text.size()",
    "int('12') + int(12.9) + int(-12.9)",
    "int(' 12')",
    "int(1e30)",
    "int('1.5')",
    "double('1.5') + double(2)",
    "string(12) + string(true) + string('x') + string(-1)",
    "string(payload.rate)",
    "string(null)",
    "bool('true') && bool(true)",
    "bool('maybe')",
    "bool(1)",
    "type(1) == int && type(1.0) == double && type('') == string && type([]) == list",
    "type(null) == null_type && type({}) == map && type(true) == bool && type(int) == type",
    "type(payload.amount) == string",
    "dyn(1) + 1",
    "'\\u00fc\\x41\\101\\n\\U0001F600' + r'\\n' + '''a\nb'''",
    "'a' 'b'",
    "payload.",
    "(1",
    "[1",
    "{1}",
    "1 +",
    "a",
    "payload.for",
    "payload.items.all(1, true)",
    "'unfinished",
    "// all of it\ntrue // is true",
    "1.",
    "!-1",
    "1 - -1",
    "-1 . size()",
    "3 - 2 - 1",
    "1 < 2 == true",
    "1 + 2 == 3 && 2 * 3 == 6 || false",
    "true ? false : true || true",
    "[1, 2] + [3]",
    "[1] + 2",
    "'a' + 1",
    "'a' * 2",
    "payload.items[0] == {'sku': 'a', 'count': 2}",
];

#[test]
fn on_what_there_is() {
    for expression in EXPRESSIONS {
        agree(expression);
    }
}

/// Texts that mean something here and there, or nothing in both.
fn expressions() -> impl Strategy<Value = String> {
    let leaves = prop::sample::select(vec![
        "0",
        "1",
        "-2",
        "3",
        "0.5",
        "2.0",
        "''",
        "'ab'",
        "'b'",
        "true",
        "false",
        "null",
        "payload.status",
        "payload.amount",
        "payload.rate",
        "payload.ok",
        "payload.nothing",
        "payload.numbers",
        "payload.words",
        "payload.items",
        "payload.empty",
        "payload.customer",
        "payload.customer.name",
        "payload.missing",
        "payload.items[0].count",
        "payload.big",
        "payload.items[2].count",
        "has(payload.status)",
        "has(payload.items[2].count)",
        "x",
    ])
    .prop_map(str::to_owned);
    leaves.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%", "&&", "||",
        ]);
        let function = prop::sample::select(vec![
            "size", "int", "double", "string", "bool", "!", "-", "type(1) == type",
        ]);
        let method = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
        let each = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        let variable = prop::sample::select(vec!["x", "x", "y"]);
        let list = prop::sample::select(vec![
            "payload.numbers", "payload.words", "payload.items", "payload.empty", "[1, 2.5, 'ab', null]",
        ]);
        prop_oneof![
            4 => (inner.clone(), operator.clone(), inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            // How tightly they bind.
            2 => (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            2 => (function, inner.clone()).prop_map(|(f, of)| format!("{f}({of})")),
            1 => (inner.clone(), method, inner.clone())
                .prop_map(|(of, f, argument)| format!("({of}).{f}({argument})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(of, by)| format!("({of})[{by}]")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{'k': {a}, 'l': {b}}}")),
            2 => (list, each, variable, inner)
                .prop_map(|(of, each, variable, body)| format!("{of}.{each}({variable}, {body})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_global_rejects: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_what_may_be_written(expression in expressions()) {
        let rules = CallbackRules::new().filter(expression.clone());
        // Known here before it is run, there only once it is reached.
        let unknown = |error: rolegate_rules::RulesError| error.to_string().contains("no variable");
        prop_assume!(!rules.compile().err().is_some_and(unknown));
        let (ours, theirs) = (ours(&expression), theirs(&expression));
        // There a list takes the keys of a map, `[1] + {'k': 2}`, which CEL does not know.
        let has_map = expression.contains('{') || expression.contains("payload.customer");
        prop_assume!(!(ours.is_none() && theirs.is_some() && expression.contains(" + ") && has_map));
        prop_assert_eq!(ours, theirs, "{}", expression);
    }
}

/// Not that all of them are errors.
#[test]
fn many_of_them_have_a_value() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = expressions();
    let values = (0..1000)
        .filter(|_| ours(&strategy.new_tree(&mut runner).unwrap().current()).is_some())
        .count();
    assert!(values > 100, "{values} of 1000");
}
