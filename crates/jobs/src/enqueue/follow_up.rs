//! Jobs that follow from another one, as the database takes them.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use super::value::Value;
use super::{Enqueue, EnqueueError};

/// Jobs that follow from one attempt, at most.
const MOST: usize = 1000;

/// Why they can't.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowUpError {
    #[error("{0}")]
    Job(#[from] EnqueueError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0} jobs are more than {MOST}: let one of them enqueue the others")]
    TooMany(usize),
}

/// An array for `rolegate.finish_jobs_with`.
pub(crate) fn written(jobs: Vec<Enqueue>) -> Result<Box<RawValue>, FollowUpError> {
    if jobs.len() > MOST {
        return Err(FollowUpError::TooMany(jobs.len()));
    }
    let jobs: Result<Vec<_>, FollowUpError> = jobs.into_iter().map(node).collect();
    Ok(to_raw_value(&jobs?)?)
}

/// Numbers of the arguments are not touched.
fn node(job: Enqueue) -> Result<BTreeMap<&'static str, Box<RawValue>>, FollowUpError> {
    job.metadata.map_err(EnqueueError::Json)?;
    if job.unique_by.is_some() {
        return Err(EnqueueError::UniqueBy.into());
    }
    let mut node = BTreeMap::from([
        ("kind", to_raw_value(&job.kind)?),
        ("args", job.args.map_err(EnqueueError::Json)?),
    ]);
    for (name, value) in job.options {
        let (name, value) = match value {
            Value::Text(text) => (name, to_raw_value(&text)?),
            Value::Texts(texts) => (name, to_raw_value(&texts)?),
            Value::Number(number) => (name, to_raw_value(&number)?),
            Value::Json(json) => (name, json),
            Value::Jsons(jsons) => (name, to_raw_value(&jsons)?),
            Value::Interval(seconds) => (name, to_raw_value(&format!("{seconds} seconds"))?),
            Value::After(seconds) => ("run_after", to_raw_value(&seconds)?),
            Value::Time(seconds) => (name, to_raw_value(&seconds)?),
        };
        node.insert(name, value);
    }
    Ok(node)
}
