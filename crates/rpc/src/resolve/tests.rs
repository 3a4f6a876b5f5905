use rolegate_model::ErrorCode;
use rolegate_pg::catalog::{ArgumentMode, Function};
use serde_json::value::RawValue;

use super::*;
use crate::fixture::{self, With, function};
use crate::kind::oid;

/// The chosen overload's OID.
fn chosen(functions: Vec<Function>, params: &str) -> Result<u32, CallError> {
    let snapshot = fixture::snapshot(functions);
    let raw: &RawValue = serde_json::from_str(params).expect("valid JSON");
    let params = Params::from_json(Some(raw))?;
    resolve(&snapshot, "api.f", &params, |_| true).map(|resolved| resolved.function.oid)
}

fn code(result: Result<u32, CallError>) -> ErrorCode {
    result.expect_err("must be refused").code()
}

#[test]
fn a_function_that_may_not_be_executed_is_as_if_it_did_not_exist() {
    let snapshot = fixture::snapshot(vec![
        function(1, "f").arg("a", oid::INT4),
        function(2, "f").arg("a", oid::TEXT),
    ]);
    let find = |method: &str, may: fn(&Function) -> bool| {
        resolve(&snapshot, method, &Params::Absent, may).expect_err("refused")
    };
    let missing = find("api.f", |_| false);
    assert_eq!(
        missing,
        CallError::FunctionNotFound {
            method: "api.f".into()
        }
    );
    assert_eq!(find("api.g", |_| true).code(), ErrorCode::FunctionNotFound);
    assert_eq!(
        find("pg_catalog.now", |_| true).code(),
        ErrorCode::FunctionNotFound
    );
    // Messages do not list what may not be executed.
    let CallError::InvalidParams(invalid) = find("f", |function| function.oid == 2) else {
        panic!("arguments are missing");
    };
    assert_eq!(invalid.candidates, ["api.f(a text) returns text"]);
}

#[test]
fn names_choose() {
    let overloads = || {
        vec![
            function(1, "f").arg("a", oid::INT4),
            function(2, "f").arg("a", oid::INT4).arg("b", oid::INT4),
            function(3, "f").arg("c", oid::INT4),
        ]
    };
    assert_eq!(chosen(overloads(), r#"{"a":1}"#), Ok(1));
    assert_eq!(chosen(overloads(), r#"{"b":1,"a":1}"#), Ok(2));
    assert_eq!(chosen(overloads(), r#"{"c":1}"#), Ok(3));
    assert_eq!(chosen(overloads(), "[1,2]"), Ok(2));
    assert_eq!(
        code(chosen(overloads(), "[1]")),
        ErrorCode::FunctionAmbiguous
    );
    assert_eq!(
        code(chosen(overloads(), "[1,2,3]")),
        ErrorCode::InvalidParams
    );
    assert_eq!(
        code(chosen(overloads(), r#"{"A":1}"#)),
        ErrorCode::InvalidParams
    );
}

#[test]
fn json_types_choose_between_equal_names() {
    let overloads = || {
        vec![
            function(1, "f").arg("a", oid::INT4),
            function(2, "f").arg("a", oid::TEXT),
            function(3, "f").arg("a", oid::BOOL),
            function(4, "f").arg("a", oid::NUMERIC),
            function(5, "f").arg("a", fixture::INT4_ARRAY),
            function(6, "f").arg("a", fixture::ORDER),
            function(7, "f").arg("a", fixture::MOOD),
        ]
    };
    for (params, expected) in [
        (r#"{"a":1}"#, 1),
        (r#"{"a":"1"}"#, 2),
        (r#"{"a":true}"#, 3),
        (r#"{"a":1.5}"#, 4),
        (r#"{"a":1e2}"#, 4),
        (r#"{"a":[1]}"#, 5),
        (r#"{"a":{}}"#, 6),
        ("[true]", 3),
    ] {
        assert_eq!(chosen(overloads(), params), Ok(expected), "{params}");
    }
    // A label of the enum is as good as a text.
    assert_eq!(
        code(chosen(overloads(), r#"{"a":"happy"}"#)),
        ErrorCode::FunctionAmbiguous
    );
    assert_eq!(
        code(chosen(overloads(), r#"{"a":null}"#)),
        ErrorCode::FunctionAmbiguous
    );
    let error = chosen(
        vec![
            function(1, "f").arg("a", oid::INT4),
            function(2, "f").arg("a", oid::BOOL),
        ],
        r#"{"a":{}}"#,
    );
    assert_eq!(code(error), ErrorCode::InvalidParams);
}

#[test]
fn ambiguity_lists_the_candidates_that_fit() {
    let error = chosen(
        vec![
            function(1, "f").arg("a", oid::DATE),
            function(2, "f").arg("a", oid::UUID),
            function(3, "f").arg("a", oid::INT4).arg("b", oid::INT4),
        ],
        r#"{"a":"x"}"#,
    )
    .expect_err("ambiguous");
    let data = error.data().expect("a hint");
    assert_eq!(
        data.candidates,
        ["api.f(a date) returns text", "api.f(a uuid) returns text"]
    );
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    let error = chosen(
        vec![
            function(1, "f")
                .arg("a", oid::INT4)
                .arg("b", oid::INT4)
                .default_arg("c", oid::INT4),
        ],
        r#"{"a":1,"d":2}"#,
    )
    .expect_err("does not fit");
    let data = error.data().expect("details");
    assert_eq!(data.missing, ["b"]);
    assert_eq!(data.unknown, ["d"]);
    insta::assert_snapshot!(error, @"required arguments are missing: b; the function has no arguments d");
    insta::assert_snapshot!(
        data.hint.expect("a hint"),
        @"the function is api.f(a integer, b integer, c integer default ...) returns text"
    );
}

#[test]
fn a_single_json_argument_takes_the_params_whole() {
    let whole = |params: Option<&str>| {
        let snapshot = fixture::snapshot(vec![function(1, "f").arg("payload", oid::JSONB)]);
        let raw: Option<Box<RawValue>> =
            params.map(|text| RawValue::from_string(text.into()).expect("valid"));
        let params = Params::from_json(raw.as_deref()).expect("valid");
        let resolved = resolve(&snapshot, "f", &params, |_| true).expect("fits");
        match &resolved.values[0] {
            Some(Value::Whole(text)) => text.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(whole(None), "{}");
    assert_eq!(whole(Some("null")), "{}");
    assert_eq!(whole(Some("[1, 1.10]")), "[1, 1.10]");
    assert_eq!(whole(Some(r#"{"payload": {}}"#)), r#"{"payload": {}}"#);
    let overloads = || {
        vec![
            function(1, "f").arg("payload", oid::JSONB),
            function(2, "f").arg("a", oid::INT4),
        ]
    };
    assert_eq!(chosen(overloads(), r#"{"a":1}"#), Ok(2));
    assert_eq!(chosen(overloads(), r#"{"b":1}"#), Ok(1));
    // A variadic or an out argument is no input of that kind.
    let two = vec![function(1, "f").arg("x", oid::JSONB).arg("y", oid::JSONB)];
    assert_eq!(code(chosen(two, r#"{"x":1}"#)), ErrorCode::InvalidParams);
}

#[test]
fn fewest_defaults_win_and_what_the_server_could_mistake_is_refused() {
    let overloads = |second: u32| {
        vec![
            function(1, "f").arg("a", oid::INT4),
            function(2, "f")
                .arg("a", second)
                .default_arg("b", oid::INT4),
        ]
    };
    assert_eq!(chosen(overloads(oid::NUMERIC), r#"{"a":1}"#), Ok(1));
    assert_eq!(chosen(overloads(oid::INT4), r#"{"a":1}"#), Ok(1));
    // The first may not be executed; the call of the second would be a call of the first.
    let snapshot = fixture::snapshot(overloads(oid::INT4));
    let raw: &RawValue = serde_json::from_str(r#"{"a":1}"#).expect("valid");
    let params = Params::from_json(Some(raw)).expect("valid");
    let error = resolve(&snapshot, "f", &params, |function| function.oid == 2);
    assert_eq!(
        error.expect_err("refused").code(),
        ErrorCode::FunctionAmbiguous
    );
    // With every argument given there is no doubt.
    let raw: &RawValue = serde_json::from_str(r#"{"a":1,"b":2}"#).expect("valid");
    let params = Params::from_json(Some(raw)).expect("valid");
    assert!(resolve(&snapshot, "f", &params, |function| function.oid == 2).is_ok());
    // A variadic overload takes the same call too.
    let variadic = vec![
        function(1, "f").mode_arg(ArgumentMode::Variadic, "n", fixture::INT4_ARRAY),
        function(2, "f")
            .arg("a", oid::INT4)
            .default_arg("b", oid::TEXT),
    ];
    assert_eq!(
        code(chosen(variadic, r#"{"a":1}"#)),
        ErrorCode::FunctionAmbiguous
    );
}

#[test]
fn variadic_arguments_take_the_rest() {
    let overloads = || {
        vec![
            function(1, "f").arg("a", oid::INT4),
            function(2, "f").arg("a", oid::INT4).mode_arg(
                ArgumentMode::Variadic,
                "rest",
                fixture::TEXT_ARRAY,
            ),
        ]
    };
    assert_eq!(chosen(overloads(), "[1]"), Ok(1));
    assert_eq!(chosen(overloads(), r#"[1,"x","y"]"#), Ok(2));
    assert_eq!(chosen(overloads(), r#"{"a":1,"rest":["x"]}"#), Ok(2));
}

#[test]
fn unnamed_arguments_are_positional_only() {
    let functions = || vec![function(1, "f").arg("", oid::INT4).arg("b", oid::INT4)];
    assert_eq!(chosen(functions(), "[1,2]"), Ok(1));
    let error = chosen(functions(), r#"{"b":2}"#).expect_err("#1 can't be named");
    assert_eq!(error.data().expect("details").missing, ["#1"]);
    assert_eq!(
        code(chosen(functions(), r#"{"":1,"b":2}"#)),
        ErrorCode::InvalidParams
    );
}

#[test]
fn what_takes_types_without_values_is_not_callable() {
    let snapshot = fixture::example();
    let error = resolve(&snapshot, "any", &Params::Absent, |_| true).expect_err("refused");
    assert_eq!(error.code(), ErrorCode::FunctionNotFound);
}

#[test]
fn a_name_given_twice_is_refused() {
    let functions = vec![function(1, "f").arg("a", oid::INT4)];
    let error = chosen(functions, r#"{"a":1,"\u0061":2}"#);
    assert_eq!(code(error), ErrorCode::InvalidParams);
}

#[test]
fn messages_do_not_repeat_a_request_at_length() {
    let snapshot = fixture::example();
    let method = format!("x\n{}", "y".repeat(10_000));
    let error = resolve(&snapshot, &method, &Params::Absent, |_| true).expect_err("unknown");
    assert!(error.to_string().len() < 600);
    assert!(!error.to_string().contains('\n'));
}
