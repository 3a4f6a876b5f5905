//! A call of one of our functions with named arguments, for either driver.

use std::fmt::Write as _;

use rolegate_pg::EngineSql;
use serde_json::value::RawValue;
use tokio_postgres::types::{ToSql, Type};

/// An argument, as both drivers can send it.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Number(i32),
    Json(Box<RawValue>),
    Jsons(Vec<Box<RawValue>>),
    /// Seconds.
    Interval(f64),
    /// Seconds from now.
    After(f64),
    /// Seconds since 1970.
    Time(f64),
}

/// A parameter of a statement.
#[derive(Debug)]
pub(super) enum Parameter {
    Text(String),
    Texts(Vec<String>),
    Number(i32),
    Seconds(f64),
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<Parameter>,
}

impl Statement {
    /// `function` with the schema `rolegate`.
    pub(super) fn call(function: &'static str) -> Self {
        Self {
            sql: format!("select {function}("),
            parameters: Vec::new(),
        }
    }

    /// A unique key that the database makes, of an object of its parts. Not the first argument.
    pub(super) fn unique_by(&mut self, parts: String) {
        // Writing to a string does not fail.
        let _ = write!(
            self.sql,
            ", unique_key => (select rolegate.unique_key(u.kind, u.args, u.queue, \
             pg_catalog.make_interval(secs => u.period)) from pg_catalog.jsonb_to_record(\
             ${}::pg_catalog.text::pg_catalog.jsonb) \
             u (kind pg_catalog.text, args pg_catalog.jsonb, queue pg_catalog.text, \
             period pg_catalog.float8))",
            self.parameters.len() + 1
        );
        self.parameters.push(Parameter::Text(parts));
    }

    pub(super) fn argument(&mut self, name: Option<&'static str>, value: Value) {
        if !self.parameters.is_empty() {
            self.sql.push_str(", ");
        }
        if let Some(name) = name {
            self.sql.push_str(name);
            self.sql.push_str(" => ");
        }
        let (before, after, parameter) = value.into_parts();
        let nth = self.parameters.len() + 1;
        self.sql.push_str(before);
        // Writing to a string does not fail.
        let _ = write!(self.sql, "${nth}");
        self.sql.push_str(after);
        self.parameters.push(parameter);
    }

    pub(super) fn end(mut self, sql: Option<&EngineSql>) -> Self {
        self.sql.push(')');
        if let Some(schema) = sql {
            self.sql = schema.of(&self.sql);
        }
        self
    }

    pub(super) fn typed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.parameters.iter().map(Parameter::typed).collect()
    }
}

impl Parameter {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Text(text) => (text, Type::TEXT),
            Self::Texts(texts) => (texts, Type::TEXT_ARRAY),
            Self::Number(number) => (number, Type::INT4),
            Self::Seconds(seconds) => (seconds, Type::FLOAT8),
        }
    }
}

impl Value {
    /// What stands before and after the parameter.
    fn into_parts(self) -> (&'static str, &'static str, Parameter) {
        const INTERVAL: &str = "pg_catalog.make_interval(secs => ";
        const AFTER: &str = "pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => ";
        const TIME: &str = "pg_catalog.to_timestamp(";
        const SECONDS: &str = "::pg_catalog.float8)";
        match self {
            Self::Text(text) => ("", "::pg_catalog.text", Parameter::Text(text)),
            Self::Texts(texts) => ("", "::pg_catalog.text[]", Parameter::Texts(texts)),
            Self::Number(number) => ("", "::pg_catalog.int4", Parameter::Number(number)),
            Self::Json(json) => (
                "",
                "::pg_catalog.text::pg_catalog.jsonb",
                Parameter::Text(json.get().to_owned()),
            ),
            Self::Jsons(jsons) => (
                "",
                "::pg_catalog.text[]::pg_catalog.jsonb[]",
                Parameter::Texts(jsons.iter().map(|json| json.get().to_owned()).collect()),
            ),
            Self::Interval(seconds) => (INTERVAL, SECONDS, Parameter::Seconds(seconds)),
            Self::After(seconds) => (AFTER, SECONDS, Parameter::Seconds(seconds)),
            Self::Time(seconds) => (TIME, SECONDS, Parameter::Seconds(seconds)),
        }
    }
}
