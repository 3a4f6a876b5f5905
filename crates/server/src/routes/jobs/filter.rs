//! Which jobs a list has, and its pages.

use bytes::Bytes;
use http::HeaderValue;
use rolegate_model::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{MAX_NAME, MAX_TAG, STATES};
use crate::extract::QueryPairs;
use crate::problem::Problem;
use crate::routes::asked::{Asked, job_id};

/// Jobs of a page.
pub(crate) const MAX_LIMIT: u32 = 1000;
const DEFAULT_LIMIT: u32 = 100;

/// Which jobs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) state: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: u32,
}

impl Filter {
    /// Reads it; `known` are the parameters there are.
    pub(crate) fn read(query: &QueryPairs, known: &[&str]) -> Result<Self, Problem> {
        query.only(known)?;
        let state = query.once("state")?;
        if state.is_some_and(|state| !STATES.contains(&state)) {
            return Err(Problem::at("state", "is no state")
                .hint(format!("There are: {}.", STATES.join(", "))));
        }
        let text = |name: &str, most: usize| {
            let value = query.once(name)?;
            if value.is_some_and(|value| {
                value.is_empty() || value.chars().count() > most || value.contains('\0')
            }) {
                return Err(
                    Problem::at(name, "is empty, too long, or has a zero character")
                        .hint(format!("1 to {most} characters.")),
                );
            }
            Ok(value.map(str::to_owned))
        };
        let before = match query.once("before_id")? {
            None => None,
            Some(text) => Some(job_id(text).ok_or_else(|| {
                Problem::at("before_id", "is no place in the list")
                    .hint("Take it from the header `Link` of the page before.")
            })?),
        };
        let limit = match query.once("limit")? {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| {
                    Problem::at("limit", "is out of bounds")
                        .hint(format!("A page has 1 to {MAX_LIMIT} jobs."))
                })?,
        };
        Ok(Self {
            state: state.map(str::to_owned),
            queue: text("queue", MAX_NAME)?,
            kind: text("kind", MAX_NAME)?,
            tag: text("tag", MAX_TAG)?,
            before,
            limit,
        })
    }

    /// Its parameters in OpenAPI.
    pub(crate) fn describe(parameters: &[&str]) -> Vec<Value> {
        let name = json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME});
        parameters
            .iter()
            .map(|parameter| {
                let (schema, text) = match *parameter {
                    "state" => (json!({"enum": STATES}), "Only jobs in this state."),
                    "queue" => (name.clone(), "Only jobs of this queue."),
                    "kind" => (name.clone(), "Only jobs of this kind."),
                    "tag" => (
                        json!({"type": "string", "minLength": 1, "maxLength": MAX_TAG}),
                        "Only jobs with this tag.",
                    ),
                    "before_id" => (
                        json!({"type": "integer", "format": "int64", "minimum": 1}),
                        "Where the page before has ended, from its header `Link`.",
                    ),
                    _ => (
                        json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT,
                               "default": DEFAULT_LIMIT}),
                        "Jobs of a page.",
                    ),
                };
                json!({"name": parameter, "in": "query", "required": false, "schema": schema,
                       "description": text})
            })
            .collect()
    }
}

/// A page as the statements make it.
#[derive(Debug, Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    rows: &'a RawValue,
    next: Option<i64>,
}

/// The rows of a page, and the link to the next one.
pub(crate) fn page(
    asked: &Asked,
    page: Option<Bytes>,
) -> Result<(Bytes, Option<HeaderValue>), Problem> {
    let page = page.ok_or_else(|| Problem::new(ErrorCode::Internal))?;
    let read: Page<'_> =
        serde_json::from_slice(&page).map_err(|_| Problem::new(ErrorCode::Internal))?;
    let next = read.next.and_then(|before| asked.next_page(before));
    Ok((Bytes::copy_from_slice(read.rows.get().as_bytes()), next))
}

/// A page of `items` in OpenAPI.
pub(crate) fn describe_page(description: &str, items: &Value) -> Value {
    json!({
        "description": description,
        "headers": {"Link": {
            "required": false,
            "schema": {"type": "string"},
            "description": "The next page, `rel=\"next\"`, unless this is the last. A page may be \
                            empty and not the last: one request looks at a bounded number of jobs.",
        }},
        "content": {"application/json": {
            "schema": {"type": "array", "maxItems": MAX_LIMIT, "items": items},
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = ["state", "queue", "kind", "tag", "before_id", "limit"];

    fn read(query: &str) -> Result<Filter, Problem> {
        Filter::read(&QueryPairs::parse(query), &KNOWN)
    }

    #[test]
    fn filters_are_read_within_their_bounds() {
        let filter =
            read("state=failed&queue=a&kind=b&tag=%23c&before_id=7&limit=1000").expect("fits");
        assert_eq!((filter.before, filter.limit), (Some(7), 1000));
        assert_eq!(filter.tag.as_deref(), Some("#c"));
        assert_eq!(read("").expect("fits").limit, 100);
        for (query, path) in [
            ("state=gone", "state"),
            ("queue=", "queue"),
            ("kind=%00", "kind"),
            ("before_id=0", "before_id"),
            ("before_id=x", "before_id"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("tag=", "tag"),
            ("tags=a", "tags"),
            ("limit=1&limit=2", "limit"),
        ] {
            let problem = read(query).expect_err("it is refused");
            assert_eq!(problem.data, Some(json!({"path": path})), "{query}");
        }
    }
}
