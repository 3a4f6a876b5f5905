use proptest::prelude::*;

use super::*;
use crate::fixture;
use crate::kind::oid;

fn of(type_oid: u32, json: &str) -> Result<Option<String>, InvalidParams> {
    let raw: &RawValue = serde_json::from_str(json).expect("valid JSON");
    parameter(&fixture::types(), type_oid, &Value::Json(raw), "x")
        .map(|param| param.map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8")))
}

fn text(type_oid: u32, json: &str) -> String {
    of(type_oid, json).expect("fits").expect("not null")
}

#[test]
fn values_keep_their_text() {
    for (type_oid, json, expected) in [
        (oid::INT8, "9007199254740993", "9007199254740993"),
        (oid::NUMERIC, "1.10", "1.10"),
        (oid::NUMERIC, "1e400", "1e400"),
        (oid::NUMERIC, "\"NaN\"", "NaN"),
        (oid::FLOAT8, "-0.0", "-0.0"),
        (oid::TEXT, "1.10", "1.10"),
        (oid::TEXT, "true", "true"),
        (oid::TEXT, r#""a\"\\\u00e4\n""#, "a\"\\ä\n"),
        (oid::BOOL, "false", "false"),
        (oid::BOOL, "\"yes\"", "yes"),
        (oid::DATE, "\"2026-01-01\"", "2026-01-01"),
        (
            oid::JSONB,
            r#"{"a": [1.10, null]}"#,
            r#"{"a": [1.10, null]}"#,
        ),
        (oid::JSONB, "\"x\"", "\"x\""),
        (fixture::DOCUMENT, "1", "1"),
        (fixture::MOOD, "\"happy\"", "happy"),
        (fixture::POSITIVE, "5", "5"),
        (fixture::INT4RANGE, "\"[1,5)\"", "[1,5)"),
        (fixture::CITEXT, "\"Ab\"", "Ab"),
        (oid::BYTEA, r#""\\xDEadbeef""#, "\\xDEadbeef"),
        (oid::BYTEA, r#""\\x""#, "\\x"),
    ] {
        assert_eq!(text(type_oid, json), expected);
    }
}

#[test]
fn null_is_null_for_every_type() {
    for type_oid in [
        oid::INT4,
        oid::JSONB,
        fixture::ORDER,
        fixture::INT4_ARRAY,
        fixture::POSITIVE,
    ] {
        assert_eq!(of(type_oid, "null"), Ok(None));
    }
}

#[test]
fn arrays_and_rows_are_written_so_that_no_value_can_be_read_as_structure() {
    assert_eq!(
        text(fixture::INT4_ARRAY, "[1, null, 3]"),
        r#"{"1",NULL,"3"}"#
    );
    assert_eq!(text(fixture::INT4_ARRAY, "[[1],[2]]"), r#"{{"1"},{"2"}}"#);
    assert_eq!(text(fixture::INT4_ARRAY, "[]"), "{}");
    assert_eq!(text(fixture::INT4_ARRAY, "\"{1,2}\""), "{1,2}");
    assert_eq!(
        text(fixture::TEXT_ARRAY, r#"["a,b", "}{", "NULL", "q\"\\", ""]"#),
        r#"{"a,b","}{","NULL","q\"\\",""}"#
    );
    assert_eq!(text(fixture::TAGS, r#"["x"]"#), r#"{"x"}"#);
    assert_eq!(text(fixture::JSONB_ARRAY, r"[[1], {}]"), r#"{"[1]","{}"}"#);
    assert_eq!(
        text(fixture::BOX_ARRAY, r#"["(1,1),(0,0)","(2,2),(1,1)"]"#),
        r#"{"(1,1),(0,0)";"(2,2),(1,1)"}"#
    );
    assert_eq!(
        text(
            fixture::ORDER,
            r#"{"id": 9007199254740993, "items": [{"sku": "a\"(,)\\", "price": 1.10, "count": 1}, null], "extra": {"k": "v\\"}}"#
        ),
        r#"("9007199254740993","{""(\\""a\\""\\""(,)\\\\\\\\\\"",\\""1.10\\"",\\""1\\"")"",NULL}",,"{""k"": ""v\\\\""}",)"#
    );
}

#[test]
fn what_does_not_fit_is_refused_with_its_path() {
    for (type_oid, json, path) in [
        (oid::INT4, "{}", "x"),
        (oid::INT4, "[1]", "x"),
        (oid::INT4, "true", "x"),
        (oid::BOOL, "1", "x"),
        (oid::UUID, "1", "x"),
        (oid::DATE, "20260101", "x"),
        (fixture::MOOD, "1", "x"),
        (oid::TEXT, "{}", "x"),
        (fixture::CITEXT, "[]", "x"),
        (fixture::INT4RANGE, "1", "x"),
        (fixture::INT4_ARRAY, "{}", "x"),
        (fixture::INT4_ARRAY, "1", "x"),
        (fixture::INT4_ARRAY, "[1,{}]", "x[1]"),
        (
            fixture::INT4_ARRAY,
            "[[[[[[[1]]]]]]]",
            "x[0][0][0][0][0][0]",
        ),
        (fixture::ORDER, "[]", "x"),
        (fixture::ORDER, r#"{"nope":1}"#, "x"),
        (fixture::ORDER, r#"{"id":1,"id":1}"#, "x"),
        (
            fixture::ORDER,
            r#"{"items":[{"price":1},{"price":false}]}"#,
            "x.items[1].price",
        ),
        (oid::TEXT, "\"a\\u0000\"", "x"),
        (oid::TEXT, "\"\\ud800\"", "x"),
        (fixture::TEXT_ARRAY, "[\"\\u0000\"]", "x[0]"),
        (oid::BYTEA, "\"deadbeef\"", "x"),
        (oid::BYTEA, "\"\\\\xabc\"", "x"),
        (oid::BYTEA, "\"\\\\xzz\"", "x"),
        (oid::BYTEA, "1", "x"),
    ] {
        let error = of(type_oid, json).expect_err(json);
        assert_eq!(error.argument.as_deref(), Some(path), "{json}");
    }
    insta::assert_snapshot!(
        of(oid::INT4, "[1]").expect_err("refused"),
        @"argument `x` is an array, which is no value for integer"
    );
}

#[test]
fn arrays_of_extension_types_are_converted_by_the_server() {
    assert_eq!(
        passing(&fixture::types(), fixture::CITEXT_ARRAY),
        Passing::Converted
    );
    assert_eq!(passing(&fixture::types(), fixture::CITEXT), Passing::Direct);
    assert_eq!(passing(&fixture::types(), fixture::ORDER), Passing::Direct);
    assert_eq!(
        text(fixture::CITEXT_ARRAY, r#"["a", null]"#),
        r#"{"v":["a", null]}"#
    );
    assert!(of(fixture::CITEXT_ARRAY, "[{}]").is_err());
}

#[test]
fn query_texts_are_values() {
    let query = |type_oid: u32, texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        parameter(&fixture::types(), type_oid, &Value::Texts(&texts), "x")
            .map(|param| String::from_utf8(param.expect("not null").to_vec()).expect("UTF-8"))
    };
    for (type_oid, texts, expected) in [
        (oid::INT4, &["5"][..], "5"),
        (oid::TEXT, &["null"], "null"),
        (oid::TEXT, &[""], ""),
        (oid::BOOL, &["true"], "true"),
        (oid::JSONB, &["{\"a\":1}"], "{\"a\":1}"),
        (fixture::INT4_ARRAY, &["1", "2"], r#"{"1","2"}"#),
        (fixture::INT4_ARRAY, &["1"], r#"{"1"}"#),
        (fixture::INT4_ARRAY, &["{1,2}"], "{1,2}"),
        (fixture::INT4_ARRAY, &["[1,2]"], r#"{"1","2"}"#),
        (fixture::INT4_ARRAY, &["[0:1]={1,2}"], "[0:1]={1,2}"),
        (fixture::JSONB_ARRAY, &["1", "{}"], r#"{"1","{}"}"#),
        (fixture::ITEM, &["{\"sku\":\"a\"}"], "(\"a\",,)"),
        (fixture::ITEM, &["(a,1,2)"], "(a,1,2)"),
    ] {
        assert_eq!(query(type_oid, texts).expect("fits"), expected, "{texts:?}");
    }
    assert!(query(oid::INT4, &["1", "2"]).is_err());
    assert!(query(oid::JSONB, &["{"]).is_err());
    assert!(query(oid::TEXT, &["\0"]).is_err());
}

/// Reads what `array_in` would read: the elements of a one-dimensional array.
fn read_array(text: &str) -> Vec<Option<String>> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .expect("braces");
    let mut found = Vec::new();
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => {}
            'N' => {
                assert_eq!(chars.by_ref().take(3).collect::<String>(), "ULL");
                found.push(None);
            }
            '"' => {
                let mut element = String::new();
                loop {
                    match chars.next().expect("a closing quote") {
                        '"' => break,
                        '\\' => element.push(chars.next().expect("an escaped character")),
                        other => element.push(other),
                    }
                }
                found.push(Some(element));
            }
            other => panic!("unquoted {other}"),
        }
    }
    found
}

proptest! {
    #[test]
    fn numbers_are_never_changed(
        number in r"-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,5})?",
    ) {
        prop_assert_eq!(text(oid::NUMERIC, &number), number.clone());
        prop_assert_eq!(text(oid::INT8, &number), number);
    }

    #[test]
    fn strings_arrive_as_they_are(value in any::<String>().prop_filter("no NUL", |s| !s.contains('\0'))) {
        let json = serde_json::to_string(&value).expect("a string");
        prop_assert_eq!(text(oid::TEXT, &json), value);
    }

    #[test]
    fn array_elements_arrive_as_they_are(
        values in proptest::collection::vec(
            proptest::option::of(any::<String>().prop_filter("no NUL", |s| !s.contains('\0'))),
            0..6,
        ),
    ) {
        let json = serde_json::to_string(&values).expect("an array");
        prop_assert_eq!(read_array(&text(fixture::TEXT_ARRAY, &json)), values);
    }
}
