use proptest::prelude::*;
use rolegate_model::ErrorCode;
use rolegate_pg::catalog::ArgumentMode;
use serde_json::value::RawValue;

use super::*;
use crate::fixture::{self, With, function};
use crate::kind::oid;

fn prepared(method: &str, params: &str) -> Call {
    let snapshot = fixture::example();
    let raw: &RawValue = serde_json::from_str(params).expect("valid JSON");
    let params = Params::from_json(Some(raw)).expect("params");
    prepare(&snapshot, method, &params, |_| true).expect("callable")
}

fn sql(method: &str, params: &str) -> String {
    prepared(method, params).statement.sql.to_string()
}

#[test]
fn functions() {
    insta::assert_snapshot!(sql("api.add", "[1]"), @r#"select (pg_catalog.to_json("api"."add"($1)))::pg_catalog.text /* 30001 */"#);
    insta::assert_snapshot!(sql("add", r#"{"b":2,"a":1}"#), @r#"select (pg_catalog.to_json("api"."add"($1, $2)))::pg_catalog.text /* 30001 */"#);
    insta::assert_snapshot!(sql("add", r#"{"c":2,"a":1}"#), @r#"select (pg_catalog.to_json("api"."add"($1, "c" => $2)))::pg_catalog.text /* 30001 */"#);
    insta::assert_snapshot!(sql("echo", "{}"), @r#"select ("api"."echo"($1))::pg_catalog.text /* 30002 */"#);
    insta::assert_snapshot!(sql("forget", r#"["x"]"#), @r#"select "api"."forget"($1) /* 30008 */"#);
    insta::assert_snapshot!(sql("join_words", r#"[",","a"]"#), @r#"select (pg_catalog.to_json("api"."join_words"($1, variadic $2)))::pg_catalog.text /* 30005 */"#);
    insta::assert_snapshot!(
        sql("labels", r#"[["a"],["b"]]"#),
        @r#"select (pg_catalog.to_json("api"."labels"((select x.v from pg_catalog.json_to_record($1) as x(v public.citext[])), $2)))::pg_catalog.text /* 30014 */"#
    );
}

#[test]
fn sets() {
    insta::assert_snapshot!(sql("list_items", r#"[1,"[1,2)"]"#), @r#"select (pg_catalog.to_json(result.*))::pg_catalog.text from "api"."list_items"($1, $2) result /* 30004 */"#);
    insta::assert_snapshot!(sql("totals", "[]"), @r#"select (pg_catalog.to_json(result.*))::pg_catalog.text from "api"."totals"() result /* 30006 */"#);
    insta::assert_snapshot!(sql("ids", "[]"), @r#"select (pg_catalog.json_build_object('it''s', result.*))::pg_catalog.text from "api"."ids"() result /* 30007 */"#);
    insta::assert_snapshot!(sql("documents", "[]"), @r#"select (result.*)::pg_catalog.text from "api"."documents"() result /* 30011 */"#);
    assert_eq!(prepared("ids", "[]").shape, Shape::Rows);
}

#[test]
fn procedures() {
    let call = prepared("settle", r#"{"order_id":1,"note":"x"}"#);
    insta::assert_snapshot!(call.statement.sql, @r#"call "api"."settle"($1, $2, $3) /* 30009 */"#);
    assert_eq!(call.statement.types, [oid::INT8, oid::TEXT, oid::NUMERIC]);
    assert_eq!(
        call.statement.params,
        [Some("1".into()), Some("x".into()), None]
    );
    assert_eq!(call.access, Access::ReadWrite);
    let Shape::Columns(columns) = call.shape else {
        panic!("columns")
    };
    assert_eq!(
        columns[0],
        Column {
            name: "note".into(),
            text: ColumnText::String
        }
    );
    assert_eq!(
        columns[1],
        Column {
            name: "paid".into(),
            text: ColumnText::Number
        }
    );
    assert_eq!(call.reread, None);
    insta::assert_snapshot!(sql("tidy", "{}"), @r#"call "api"."tidy"() /* 30010 */"#);
    assert_eq!(prepared("tidy", "{}").shape, Shape::Void);
}

/// A procedure that gives these columns.
fn giving(columns: &[(&str, u32)]) -> Call {
    let mut wanted = function(30020, "give").procedure();
    for (name, type_oid) in columns {
        wanted = wanted.mode_arg(ArgumentMode::Out, name, *type_oid);
    }
    let snapshot = fixture::snapshot(vec![wanted.columns(columns)]);
    let params = Params::from_json(None).expect("params");
    prepare(&snapshot, "give", &params, |_| true).expect("callable")
}

#[test]
fn what_a_procedure_gives_is_read_again_if_its_text_is_no_json() {
    let call = giving(&[("a\"b", oid::INT8), ("tags", fixture::TAGS)]);
    assert_eq!(call.shape, Shape::Scalar);
    let reread = call.reread.expect("an array");
    insta::assert_snapshot!(reread.sql, @r#"select pg_catalog.row_to_json(result.*)::pg_catalog.text from (select $1 as "a""b", $2 as "tags") result /* 30020 */"#);
    assert_eq!(reread.types, [oid::INT8, fixture::TEXT_ARRAY]);
    for (type_oid, again) in [
        (fixture::ITEM, true),
        (fixture::ITEM_ARRAY, true),
        (fixture::CITEXT, true),
        (oid::TIMESTAMPTZ, true),
        (oid::DATE, true),
        (fixture::DOCUMENT, false),
        (fixture::POSITIVE, false),
        (fixture::MOOD, false),
        (oid::NUMERIC, false),
        (oid::BOOL, false),
        (oid::BYTEA, false),
        (oid::UUID, false),
    ] {
        let call = giving(&[("x", type_oid)]);
        assert_eq!(call.reread.is_some(), again, "{type_oid}");
        assert_eq!(call.shape == Shape::Scalar, again, "{type_oid}");
    }
}

#[test]
fn names_are_quoted() {
    insta::assert_snapshot!(
        sql("Odd\"Name", r#"{"a\"b":"1","e\"f":"2"}"#),
        @r#"select (pg_catalog.to_json("api"."Odd""Name"($1, "e""f" => $2)))::pg_catalog.text /* 30013 */"#
    );
}

#[test]
fn volatility_decides_about_writing() {
    assert_eq!(prepared("add", "[1]").access, Access::ReadOnly);
    assert_eq!(prepared("echo", "{}").access, Access::ReadWrite);
}

#[test]
fn parameters_have_the_types_of_the_arguments() {
    let call = prepared("place", r#"[{"id":1},"happy",["x"],"now"]"#);
    assert_eq!(
        call.statement.types,
        [
            fixture::ORDER,
            fixture::MOOD,
            fixture::TAGS,
            oid::TIMESTAMPTZ
        ]
    );
    let call = prepared("labels", r#"[["a"],["b"]]"#);
    assert_eq!(call.statement.types, [oid::JSON, fixture::BPCHAR_ARRAY]);
    assert!(call.statement.prepared);
}

#[test]
fn a_variadic_argument_without_values_is_an_empty_array() {
    let call = prepared("join_words", r#"{"separator":","}"#);
    assert_eq!(call.statement.params[1], Some("{}".into()));
}

#[test]
fn overloads_have_statements_of_their_own() {
    let snapshot = fixture::snapshot(vec![
        function(1, "f").arg("a", oid::INT4),
        function(2, "f").arg("a", oid::TEXT),
    ]);
    let sql = |params: &str| {
        let raw: &RawValue = serde_json::from_str(params).expect("valid");
        let params = Params::from_json(Some(raw)).expect("valid");
        prepare(&snapshot, "f", &params, |_| true)
            .expect("callable")
            .statement
            .sql
    };
    assert_ne!(sql("[1]"), sql("[\"x\"]"));
    assert_eq!(sql("[1]"), sql("[2]"));
}

#[test]
fn a_value_that_does_not_fit_tells_the_signature() {
    let snapshot = fixture::example();
    let raw: &RawValue = serde_json::from_str(r#"{"a":{}}"#).expect("valid");
    let params = Params::from_json(Some(raw)).expect("valid");
    let error = prepare(&snapshot, "add", &params, |_| true).expect_err("refused");
    assert_eq!(error.code(), ErrorCode::InvalidParams);
    let data = serde_json::to_string(&error.data()).expect("serializable");
    insta::assert_snapshot!(data, @r#"{"argument":"a","candidates":["api.add(a integer, b integer default ..., c integer default ...) returns integer"],"hint":"the function is api.add(a integer, b integer default ..., c integer default ...) returns integer"}"#);
}

#[test]
fn a_query_string_calls_too() {
    let snapshot = fixture::example();
    let params = Params::from_query([
        ("words".into(), "a".into()),
        ("separator".into(), ",".into()),
        ("words".into(), "b".into()),
    ]);
    let call = prepare(&snapshot, "join_words", &params, |_| true).expect("callable");
    assert_eq!(
        call.statement.params,
        [Some(",".into()), Some(r#"{"a","b"}"#.into())]
    );
    let params = Params::from_query([("a".into(), "1".into()), ("b".into(), "2".into())]);
    let call = prepare(&snapshot, "echo", &params, |_| true).expect("callable");
    assert_eq!(call.statement.params, [Some(r#"{"a":"1","b":"2"}"#.into())]);
}

/// Takes quoted identifiers, parameters and the comment out: what is left is ours.
fn skeleton(sql: &str) -> String {
    let mut left = String::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '"' {
            left.push(c);
            continue;
        }
        while let Some(c) = chars.next() {
            if c == '"' && chars.next_if_eq(&'"').is_none() {
                break;
            }
        }
        left.push('I');
    }
    left
}

proptest! {
    #[test]
    fn names_and_values_never_become_sql(
        name in "a[\"'; $\\\\*/()-]{0,12}",
        first in "b[\"'; $\\\\*/()-]{0,12}",
        last in "c[\"'; $\\\\*/()-]{0,12}",
        value in any::<String>().prop_filter("no NUL", |s| !s.contains('\0')),
    ) {
        let snapshot = fixture::snapshot(vec![
            function(7, &name)
                .default_arg(&first, oid::TEXT)
                .mode_arg(ArgumentMode::InOut, &last, oid::TEXT),
        ]);
        let mut object = serde_json::Map::new();
        object.insert(last.clone(), value.clone().into());
        let text = serde_json::Value::Object(object).to_string();
        let raw: &RawValue = serde_json::from_str(&text).expect("valid");
        let params = Params::from_json(Some(raw)).expect("valid");
        let call = prepare(&snapshot, &format!("api.{name}"), &params, |_| true).expect("callable");
        prop_assert_eq!(
            skeleton(&call.statement.sql),
            "select (pg_catalog.to_json(I.I(I => $1)))::pg_catalog.text /* 7 */"
        );
        prop_assert_eq!(call.statement.params, vec![Some(Bytes::from(value))]);
    }
}
