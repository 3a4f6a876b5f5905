//! Parts of a request, with refusals like every other one: axum's own answer in plain text.

use std::borrow::Cow;
use std::future::ready;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::response::Response;
use http::request::Parts;
use rolegate_model::ErrorCode;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::request::RequestContext;

/// The variable parts of the path.
#[derive(Debug)]
pub(crate) struct PathParts<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for PathParts<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(rejection) => Err(answer(parts, path_problem(&rejection))),
        }
    }
}

fn path_problem(rejection: &PathRejection) -> Problem {
    if let PathRejection::FailedToDeserializePathParams(failed) = rejection
        && let ErrorKind::InvalidUtf8InPathParam { key } = failed.kind()
    {
        return Problem::at(key, "is not valid UTF-8")
            .hint("Percent-encode the bytes of the text as UTF-8.");
    }
    tracing::error!(%rejection, "path_not_understood");
    Problem::new(ErrorCode::Internal)
}

/// The query string as pairs, percent-decoded, in their order.
#[derive(Debug)]
pub(crate) struct QueryPairs(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = std::convert::Infallible;

    fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> {
        ready(Ok(Self::parse(parts.uri.query().unwrap_or_default())))
    }
}

impl QueryPairs {
    pub(crate) fn parse(query: &str) -> Self {
        Self(
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The pairs.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    /// The same, to look at.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value of a parameter that may be there once.
    pub(crate) fn once(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(own, _)| own == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::at(name, "is there more than once").hint("Give it once."));
        }
        Ok(first.map(|(_, value)| value.as_str()))
    }

    /// Refuses names that are none of `known`: a filter that was mistyped would filter nothing.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            None => Ok(()),
            Some((name, _)) => Err(Problem::at(name, "is not a parameter here")
                .hint(format!("There are: {}.", known.join(", ")))),
        }
    }
}

fn decode(text: &str) -> String {
    let spaced: Cow<'_, str> = if text.contains('+') {
        text.replace('+', " ").into()
    } else {
        text.into()
    };
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

fn answer(parts: &Parts, problem: Problem) -> Response {
    match parts.extensions.get::<RequestContext>() {
        Some(context) => problem.into_response_for(context),
        None => problem.into_anonymous_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_decoded() {
        assert_eq!(
            QueryPairs::parse("a=1&b=x+y%26z&a=2&c").into_pairs(),
            [("a", "1"), ("b", "x y&z"), ("a", "2"), ("c", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert!(QueryPairs::parse("").into_pairs().is_empty());
    }

    #[test]
    fn a_parameter_is_there_once_and_known() {
        let query = QueryPairs::parse("a=1&b=2&b=3");
        assert_eq!(query.once("a"), Ok(Some("1")));
        assert_eq!(query.once("c"), Ok(None));
        let twice = query.once("b").expect_err("it is there twice");
        assert_eq!(twice.data, Some(serde_json::json!({"path": "b"})));
        assert!(query.only(&["a", "b"]).is_ok());
        assert!(query.only(&["a"]).is_err());
    }
}
