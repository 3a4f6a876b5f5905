//! Where in the claims a role is: `db_role`, `realm_access.roles[*]`, `resource_access.*.roles[*]`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::jwt::json::Json;

/// A path into the claims. Steps are names, `*` for every member of an object, and `[*]` for
/// every element of an array; a name with a dot in it is quoted (`"https://example/roles"[*]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ClaimPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    EveryMember,
    EveryElement,
}

/// Why a text is not a claim path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimPathError {
    /// Nothing, or nothing between two dots.
    #[error("a step of the claim path is empty")]
    EmptyStep,
    /// A quote without its end.
    #[error("a quote in the claim path is not closed")]
    OpenQuote,
    /// Something after a step that is neither `.` nor `[*]`.
    #[error("after a step of the claim path comes `.` or `[*]`")]
    UnexpectedText,
}

/// What is at the end of a path.
#[derive(Debug, PartialEq)]
pub(crate) enum Found<'a> {
    /// A text.
    Text(&'a str),
    /// Something else, where the path names one place and only a text makes sense.
    NotText,
}

impl ClaimPath {
    /// Whether the path names one place, not a set of them.
    pub(crate) fn is_plain(&self) -> bool {
        self.steps
            .iter()
            .all(|step| matches!(step, Step::Member(_)))
    }

    /// Everything the path leads to, in the order of the document.
    pub(crate) fn find<'a>(&self, claims: &'a Json) -> Vec<Found<'a>> {
        let mut places = vec![claims];
        for step in &self.steps {
            let mut next = Vec::new();
            for place in places {
                match (step, place) {
                    (Step::Member(name), place) => next.extend(place.member(name)),
                    (Step::EveryMember, Json::Object(members)) => {
                        next.extend(members.iter().map(|(_, value)| value));
                    }
                    (Step::EveryElement, Json::Array(elements)) => next.extend(elements),
                    // Some issuers write a list of one as the element itself.
                    (Step::EveryElement, Json::Text(_)) => next.push(place),
                    (Step::EveryMember | Step::EveryElement, _) => {}
                }
            }
            places = next;
        }
        let plain = self.is_plain();
        places
            .into_iter()
            .filter_map(|place| match place {
                Json::Text(text) => Some(Found::Text(text)),
                _ => plain.then_some(Found::NotText),
            })
            .collect()
    }
}

impl FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let name;
            if let Some(quoted) = rest.strip_prefix('"') {
                (name, rest) = quoted.split_once('"').ok_or(ClaimPathError::OpenQuote)?;
                steps.push(Step::Member(name.to_owned()));
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                (name, rest) = rest.split_at(end);
                steps.push(match name {
                    "*" => Step::EveryMember,
                    name => Step::Member(name.to_owned()),
                });
            }
            if name.is_empty() {
                return Err(ClaimPathError::EmptyStep);
            }
            while let Some(after) = rest.strip_prefix("[*]") {
                steps.push(Step::EveryElement);
                rest = after;
            }
            if rest.is_empty() {
                return Ok(Self {
                    text: text.to_owned(),
                    steps,
                });
            }
            rest = rest
                .strip_prefix('.')
                .ok_or(ClaimPathError::UnexpectedText)?;
        }
    }
}

impl TryFrom<String> for ClaimPath {
    type Error = ClaimPathError;
    fn try_from(text: String) -> Result<Self, ClaimPathError> {
        text.parse()
    }
}

impl From<ClaimPath> for String {
    fn from(path: ClaimPath) -> Self {
        path.text
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, claims: &str) -> Vec<String> {
        let path: ClaimPath = path.parse().expect("a path");
        let claims = Json::parse(claims.as_bytes()).expect("JSON");
        path.find(&claims)
            .into_iter()
            .map(|found| match found {
                Found::Text(text) => text.to_owned(),
                Found::NotText => "(not text)".to_owned(),
            })
            .collect()
    }

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        assert_eq!(found("role", r#"{"role":"a"}"#), ["a"]);
        assert_eq!(found("role", r#"{"role":null}"#), ["(not text)"]);
        assert_eq!(found("role", r#"{"role":["a"]}"#), ["(not text)"]);
        assert_eq!(found("role", r#"{"other":"a"}"#), [""; 0]);
        assert_eq!(found("a.b", r#"{"a":{"b":"x"},"a.b":"y"}"#), ["x"]);
        assert_eq!(
            found(r#""a.b"[*]"#, r#"{"a.b":["y",1,"z",null]}"#),
            ["y", "z"]
        );
        assert_eq!(found("role[*]", r#"{"role":"single"}"#), ["single"]);
        assert_eq!(
            found(
                "resource_access.*.roles[*]",
                r#"{"resource_access":{"app":{"roles":["a","b"]},"x":{"none":1},"y":{"roles":["c"]}}}"#
            ),
            ["a", "b", "c"]
        );
    }

    #[test]
    fn malformed_paths_are_refused() {
        let error = |text: &str| text.parse::<ClaimPath>().expect_err(text);
        assert_eq!(error(""), ClaimPathError::EmptyStep);
        assert_eq!(error("a..b"), ClaimPathError::EmptyStep);
        assert_eq!(error("a."), ClaimPathError::EmptyStep);
        assert_eq!(error("\"a"), ClaimPathError::OpenQuote);
        assert_eq!(error("a[0]"), ClaimPathError::UnexpectedText);
        assert_eq!(error("\"a\"b"), ClaimPathError::UnexpectedText);
    }
}
