use bytes::BytesMut;
use proptest::prelude::*;
use rolegate_model::ErrorCode;
use serde_json::value::RawValue;

use super::*;

const BOUNDS: Bounds = Bounds {
    max_batch: 3,
    max_depth: 8,
};

fn single(body: &str) -> Entry<'_> {
    match parse(body.as_bytes(), BOUNDS).expect("the body as a whole is fine") {
        Body::Single(entry) => entry,
        Body::Batch(_) => panic!("not a batch"),
    }
}

fn rejection(body: &str) -> (ErrorCode, Option<String>) {
    let rejected = single(body).expect_err("must be refused");
    (
        rejected.error.code(),
        rejected.id.map(|id| id.get().to_owned()),
    )
}

#[test]
fn a_request_keeps_the_text_of_id_and_params() {
    let request = single(
        r#" {"jsonrpc":"2.0","method":"api.f","params":{"a":9007199254740993,"b":1.10},"id":1e2} "#,
    )
    .expect("valid");
    assert_eq!(request.method, "api.f");
    assert_eq!(
        request.params.map(RawValue::get),
        Some(r#"{"a":9007199254740993,"b":1.10}"#)
    );
    assert_eq!(request.id.map(RawValue::get), Some("1e2"));
    assert!(!request.is_notification());
}

#[test]
fn no_id_is_a_notification_and_a_null_id_is_not() {
    assert!(
        single(r#"{"jsonrpc":"2.0","method":"f"}"#)
            .expect("valid")
            .is_notification()
    );
    let request = single(r#"{"jsonrpc":"2.0","method":"f","id":null}"#).expect("valid");
    assert_eq!(request.id.map(RawValue::get), Some("null"));
}

#[test]
fn what_is_not_json_is_a_parse_error() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"{]",
        b"nul",
        b"[1,]",
        b"{\"a\":1}x",
        b"\"\xff\"",
        b"\xef\xbb\xbf{}",
        b"{'a':1}",
    ];
    for body in bodies {
        let error = parse(body, BOUNDS).expect_err("not JSON");
        assert_eq!(error.code(), ErrorCode::ParseError, "{body:?}");
    }
}

#[test]
fn what_is_json_but_no_request_is_an_invalid_request() {
    let id = || Some("7".to_owned());
    for (body, expected_id) in [
        ("1", None),
        ("\"x\"", None),
        ("null", None),
        (r#"{"method":"f","id":7}"#, id()),
        (r#"{"jsonrpc":"1.0","method":"f","id":7}"#, id()),
        (r#"{"jsonrpc":2.0,"method":"f","id":7}"#, id()),
        (r#"{"jsonrpc":"2.0","id":7}"#, id()),
        (r#"{"jsonrpc":"2.0","method":1,"id":7}"#, id()),
        (r#"{"jsonrpc":"2.0","method":"\ud800","id":7}"#, id()),
        (r#"{"jsonrpc":"2.0","method":"f","params":1,"id":7}"#, id()),
        (
            r#"{"jsonrpc":"2.0","method":"f","params":"x","id":7}"#,
            id(),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"f","idempotencyKey":1,"id":7}"#,
            id(),
        ),
        (r#"{"jsonrpc":"2.0","method":"f","id":true}"#, None),
        (r#"{"jsonrpc":"2.0","method":"f","id":{}}"#, None),
        (r#"{"jsonrpc":"2.0","method":"f","id":[1]}"#, None),
        (
            r#"{"jsonrpc":"2.0","method":"f","method":"g","id":7}"#,
            None,
        ),
        (r#"{"jsonrpc":"2.0","method":"f","id":7,"\u0069d":8}"#, None),
    ] {
        assert_eq!(
            rejection(body),
            (ErrorCode::InvalidRequest, expected_id),
            "{body}"
        );
    }
}

#[test]
fn reserved_methods_do_not_exist() {
    let body = r#"{"jsonrpc":"2.0","method":"rpc.discover","id":1}"#;
    assert_eq!(
        rejection(body),
        (ErrorCode::FunctionNotFound, Some("1".into()))
    );
    let error = parse_path_call(b"{}", "rpc.f", 8).expect_err("reserved");
    assert_eq!(error.error.code(), ErrorCode::FunctionNotFound);
}

#[test]
fn batches_are_bounded_and_each_element_stands_for_itself() {
    let code = |body: &str| parse(body.as_bytes(), BOUNDS).expect_err("refused").code();
    assert_eq!(code("[]"), ErrorCode::InvalidRequest);
    assert_eq!(code("[1,2,3,4]"), ErrorCode::BatchTooLarge);
    let body = r#"[1,{"jsonrpc":"2.0","method":"f","id":"a"}]"#;
    let Body::Batch(entries) = parse(body.as_bytes(), BOUNDS).expect("valid") else {
        panic!("a batch");
    };
    assert!(entries[0].is_err());
    assert_eq!(
        entries[1].as_ref().expect("valid").id.map(RawValue::get),
        Some("\"a\"")
    );
}

#[test]
fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let error = parse(deep(9).as_bytes(), BOUNDS).expect_err("too deep");
    assert!(matches!(error, EnvelopeError::TooDeep(8)));
    assert!(parse(deep(8).as_bytes(), BOUNDS).is_ok());
    // Far beyond any stack.
    assert!(parse(deep(1_000_000).as_bytes(), BOUNDS).is_err());
    let body = r#"{"jsonrpc":"2.0","method":"[[[[[[[[[[\"[[[","id":1}"#;
    assert!(parse(body.as_bytes(), BOUNDS).is_ok());
}

#[test]
fn a_body_in_the_path_form_is_params_unless_it_says_it_is_an_envelope() {
    let call = |body: &'static str| parse_path_call(body.as_bytes(), "api.f", 8);
    for (body, params) in [
        ("", None),
        (" \n", None),
        ("{}", Some("{}")),
        ("[1, 2]", Some("[1, 2]")),
        (r#"{"jsonrpc":"1.0"}"#, Some(r#"{"jsonrpc":"1.0"}"#)),
        (r#"{"method":"x","id":1}"#, Some(r#"{"method":"x","id":1}"#)),
        (
            r#"[{"jsonrpc":"2.0","method":"g"}]"#,
            Some(r#"[{"jsonrpc":"2.0","method":"g"}]"#),
        ),
    ] {
        let found = call(body).expect("params");
        assert!(!found.envelope, "{body}");
        assert_eq!(found.params.map(RawValue::get), params);
    }
    let found = call(r#"{"jsonrpc":"2.0","params":[1],"id":3}"#).expect("an envelope");
    assert!(found.envelope);
    assert_eq!(found.id.map(RawValue::get), Some("3"));
    assert_eq!(found.params.map(RawValue::get), Some("[1]"));
    assert!(
        call(r#"{"jsonrpc":"2.0","method":"api.f"}"#)
            .expect("same method")
            .id
            .is_none()
    );
    for body in [
        r#"{"jsonrpc":"2.0","method":"api.g"}"#,
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"1.0","jsonrpc":"2.0"}"#,
        "7",
        "\"x\"",
    ] {
        let error = call(body).expect_err("refused");
        assert_eq!(error.error.code(), ErrorCode::InvalidRequest, "{body}");
    }
}

#[test]
fn answers_are_exact() {
    let id: &RawValue = serde_json::from_str("\"x\\u0041\"").expect("valid");
    let mut out = BytesMut::new();
    write_result(&mut out, Some(id), b"[1.10]");
    assert_eq!(out, r#"{"jsonrpc":"2.0","result":[1.10],"id":"x\u0041"}"#);
    out.clear();
    let data: &RawValue = serde_json::from_str(r#"{"sqlstate":"P0001"}"#).expect("valid");
    let error = RpcError {
        code: -32000,
        message: "say \"no\"\n\u{1}ä\\",
        data: Some(data),
    };
    write_error(&mut out, None, error);
    assert_eq!(
        out,
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"say \"no\"\n\u0001ä\\","data":{"sqlstate":"P0001"}},"id":null}"#
    );
    assert!(BatchWriter::new().finish().is_none());
    let mut batch = BatchWriter::new();
    batch.push(b"1");
    batch.push(b"2");
    assert_eq!(batch.finish().expect("not empty"), "[1,2]");
}

#[test]
fn codes_are_those_of_the_specification() {
    assert_eq!(rpc_code(ErrorCode::ParseError), -32700);
    assert_eq!(rpc_code(ErrorCode::InvalidRequest), -32600);
    assert_eq!(rpc_code(ErrorCode::FunctionNotFound), -32601);
    assert_eq!(rpc_code(ErrorCode::InvalidParams), -32602);
    assert_eq!(rpc_code(ErrorCode::Internal), -32603);
    assert_eq!(rpc_code(ErrorCode::DatabaseError), -32000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body, BOUNDS);
        let _ = parse_path_call(&body, "api.f", 8);
    }

    #[test]
    fn arbitrary_json_like_text_never_panics(body in r#"[\[\]{}",:0-9a-z\\ .-]{0,80}"#) {
        let _ = parse(body.as_bytes(), BOUNDS);
        let _ = parse_path_call(body.as_bytes(), "api.f", 8);
    }

    #[test]
    fn ids_and_numbers_come_back_as_they_were(
        id in r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
        number in r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
    ) {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"f","params":[{number}],"id":{id}}}"#);
        let request = single(&body).expect("valid");
        let params = request.params.expect("given");
        let elements: Vec<&RawValue> = serde_json::from_str(params.get()).expect("an array");
        prop_assert_eq!(elements[0].get(), &number);
        let mut out = BytesMut::new();
        write_result(&mut out, request.id, elements[0].get().as_bytes());
        let expected = format!(r#"{{"jsonrpc":"2.0","result":{number},"id":{id}}}"#);
        prop_assert_eq!(out, expected.as_bytes());
    }

    #[test]
    fn messages_are_valid_json_strings(message in any::<String>()) {
        let mut out = BytesMut::new();
        write_error(&mut out, None, RpcError { code: 1, message: &message, data: None });
        let value: serde_json::Value = serde_json::from_slice(&out).expect("valid JSON");
        prop_assert_eq!(value["error"]["message"].as_str(), Some(message.as_str()));
    }
}
