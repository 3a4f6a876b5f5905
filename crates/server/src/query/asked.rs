//! What a request asks for.

use std::sync::Arc;

use bytes::Bytes;
use rolegate_model::ErrorCode;
use rolegate_query::{Refusal, Text, moment};
use serde::Deserialize;
use serde_json::Value;

use super::outcome;
use crate::problem::Problem;

/// Values of one query.
const MOST_PARAMS: usize = 1000;

/// What a request asks for, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) sql: String,
    pub(crate) params: Vec<Option<Bytes>>,
    /// The configured database that was named.
    pub(crate) database: Option<String>,
}

/// A query with its parameters, as far as its text tells.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) text: Arc<Text>,
    pub(crate) params: Vec<Option<Bytes>>,
}

impl Asked {
    /// Numbers of the values that mean another moment tomorrow, if they are read as a date: `now`.
    pub(crate) fn moving(&self) -> impl Iterator<Item = usize> {
        let moves =
            |param: &Bytes| std::str::from_utf8(param).is_ok_and(|text| moment(text).is_some());
        let numbered = (1..).zip(&self.params);
        numbered.filter_map(move |(number, param)| {
            param.as_ref().filter(|param| moves(param)).map(|_| number)
        })
    }
}

/// The members of a body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    sql: Option<String>,
    params: Option<Vec<Value>>,
    database: Option<String>,
}

impl Wanted {
    /// From `{"sql": "...", "params": [...], "database": "..."}`.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self, Problem> {
        let members: Members = serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                Problem::new(ErrorCode::InvalidRequest)
                    .message(format!("The body does not fit: {error}."))
                    .hint(
                        "Send {\"sql\": \"select ...\", \"params\": [...], \"database\": \"...\"}.",
                    )
            } else {
                Problem::new(ErrorCode::ParseError)
            }
        })?;
        Self::new(members)
    }

    /// From `?sql=...&params=[...]&database=...`.
    pub(crate) fn from_query(
        sql: Option<&str>,
        params: Option<&str>,
        database: Option<&str>,
    ) -> Result<Self, Problem> {
        let params = params.map(serde_json::from_str).transpose().map_err(|_| {
            Problem::at("params", "is not a JSON array").hint("For example params=[7,\"a\"].")
        })?;
        Self::new(Members {
            sql: sql.map(str::to_owned),
            params,
            database: database.map(str::to_owned),
        })
    }

    fn new(members: Members) -> Result<Self, Problem> {
        let sql = members
            .sql
            .ok_or_else(|| Problem::at("sql", "is missing").hint("Send one SELECT."))?;
        let values = members.params.unwrap_or_default();
        if values.len() > MOST_PARAMS {
            return Err(Problem::at("params", "has too many values")
                .hint(format!("At most {MOST_PARAMS}.")));
        }
        Ok(Self {
            sql,
            params: values.into_iter().map(param).collect(),
            database: members.database,
        })
    }

    /// Reads the text. Nothing is asked of the database yet.
    pub(crate) fn read(&self) -> Result<Asked, Problem> {
        let text = Text::read(&self.sql).map_err(|refusal| outcome::refused(&refusal))?;
        self.asked(Arc::new(text))
    }

    /// With its text, that was read.
    pub(super) fn asked(&self, text: Arc<Text>) -> Result<Asked, Problem> {
        if self.params.len() != text.parameters {
            return Err(outcome::refused(&Refusal::Parameters {
                expected: text.parameters,
                given: self.params.len(),
            }));
        }
        Ok(Asked {
            text,
            params: self.params.clone(),
        })
    }

    /// Bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let params = self.params.iter().flatten();
        self.sql.len() + params.map(|param| 32 + param.len()).sum::<usize>()
    }
}

/// A value as PostgreSQL reads it. Numbers keep every digit.
fn param(value: Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(body: &str) -> Vec<Option<Bytes>> {
        Wanted::from_json(body.as_bytes()).expect("wanted").params
    }

    #[test]
    fn values_become_text() {
        let asked = params(
            r#"{"sql": "select $1, $2, $3, $4, $5", "params": [null, "a", 7, true, {"b": [1]}]}"#,
        );
        let text: Vec<_> = asked.iter().map(Option::as_deref).collect();
        assert_eq!(
            text,
            [
                None,
                Some(&b"a"[..]),
                Some(b"7"),
                Some(b"true"),
                Some(b"{\"b\":[1]}")
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (body, code) in [
            ("", ErrorCode::ParseError),
            ("{", ErrorCode::ParseError),
            ("[]", ErrorCode::InvalidRequest),
            ("{}", ErrorCode::InvalidParams),
            (r#"{"sql": 1}"#, ErrorCode::InvalidRequest),
            (
                r#"{"sql": "select 1", "live": true}"#,
                ErrorCode::InvalidRequest,
            ),
            (r#"{"sql": "select $1"}"#, ErrorCode::QueryRefused),
            (
                r#"{"sql": "select 1", "params": [1]}"#,
                ErrorCode::QueryRefused,
            ),
            (r#"{"sql": "delete from t"}"#, ErrorCode::QueryRefused),
        ] {
            let wanted = Wanted::from_json(body.as_bytes());
            let problem = wanted.and_then(|wanted| wanted.read()).expect_err(body);
            assert_eq!(problem.code, code, "{body}");
        }
    }
}
