//! How an attempt ends.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::enqueue::{Enqueue, follow_up};

/// What a handler gives back.
#[derive(Debug)]
pub enum Outcome {
    /// Done; the output is kept with the job.
    Completed(Option<Box<RawValue>>),
    /// It did not work and never will.
    Failed {
        /// What went wrong, for people.
        error: Value,
        /// A word for it; `terminal_error` if there is none.
        reason: Option<&'static str>,
    },
    /// It did not work this time.
    Retry {
        /// What went wrong, for people.
        error: Value,
        /// When to try again; `None` leaves it to the queue's backoff.
        after: Option<Duration>,
    },
    /// Not now; this attempt does not count.
    Snooze(Duration),
    /// Nobody wants it any more.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// The job waits for the callback that this attempt registered.
    Wait,
    /// It was not begun: somebody else may have it.
    Released,
    /// Its end is part of a transaction that the handler has committed: see
    /// [`crate::Context::complete_in`]. If that was not committed the job is tried again.
    Committed,
    /// It ends so, and these jobs follow from it, in the same transaction: see [`Outcome::then`].
    Followed {
        /// How it ends.
        outcome: Box<Outcome>,
        /// What follows.
        jobs: Vec<Enqueue>,
    },
}

/// An outcome as the database takes it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) state: u8,
    pub(crate) detail: Option<Box<RawValue>>,
    pub(crate) follow_ups: Option<Box<RawValue>>,
    /// It is there already, if the handler says the truth.
    pub(crate) committed: bool,
}

impl Outcome {
    /// Done, without an output.
    pub fn completed() -> Self {
        Self::Completed(None)
    }

    /// And then this job, which is enqueued together with the end of this attempt, or not at all if the
    /// attempt has ended otherwise. It belongs to whoever enqueued this one. A unique key it can't have.
    #[must_use]
    pub fn then(self, job: Enqueue) -> Self {
        match self {
            Self::Followed { outcome, mut jobs } => {
                jobs.push(job);
                Self::Followed { outcome, jobs }
            }
            outcome => Self::Followed {
                outcome: Box::new(outcome),
                jobs: vec![job],
            },
        }
    }

    /// Done, with this output.
    pub fn output<T: serde::Serialize>(output: &T) -> Self {
        match serde_json::value::to_raw_value(output) {
            Ok(raw) => Self::Completed(Some(raw)),
            Err(error) => Self::failed(format!("the output is no JSON: {error}")),
        }
    }

    /// It did not work this time; the queue's backoff says when it is tried again.
    pub fn retry(error: impl Into<Value>) -> Self {
        Self::Retry {
            error: error.into(),
            after: None,
        }
    }

    /// It did not work and never will.
    pub fn failed(error: impl Into<Value>) -> Self {
        Self::Failed {
            error: error.into(),
            reason: None,
        }
    }

    /// Without what follows.
    pub(crate) fn alone(&self) -> &Self {
        match self {
            Self::Followed { outcome, .. } => outcome.alone(),
            outcome => outcome,
        }
    }

    /// Whether there will be more of the job.
    pub(crate) fn is_back(&self) -> bool {
        match self {
            Self::Completed(_) | Self::Failed { .. } | Self::Cancelled { .. } => false,
            // What was committed comes back if it was not.
            Self::Retry { .. }
            | Self::Snooze(_)
            | Self::Wait
            | Self::Released
            | Self::Committed => true,
            Self::Followed { outcome, .. } => outcome.is_back(),
        }
    }

    /// What `rolegate.finish_jobs` takes.
    pub(crate) fn into_written(self) -> Written {
        let committed = matches!(self, Self::Committed);
        let (outcome, follow_ups) = match self {
            Self::Followed { outcome, jobs } => match follow_up::written(jobs) {
                Ok(jobs) => (*outcome, Some(jobs)),
                Err(error) => (
                    Self::failed(format!("what follows can't be enqueued: {error}")),
                    None,
                ),
            },
            outcome => (outcome, None),
        };
        let (state, detail) = outcome.into_parts();
        Written {
            state,
            detail,
            follow_ups,
            committed,
        }
    }

    /// The letter and the detail.
    fn into_parts(self) -> (u8, Option<Box<RawValue>>) {
        let (letter, mut detail) = match self {
            Self::Completed(output) => return (b'c', output),
            Self::Released => return (b'b', None),
            Self::Wait => return (b'w', None),
            Self::Failed { error, reason } => (b'f', json!({"error": error, "reason": reason})),
            Self::Retry { error, after } => {
                let delay = after.map(seconds);
                (b'r', json!({"error": error, "delay": delay}))
            }
            Self::Snooze(time) => (b's', json!({"delay": seconds(time)})),
            Self::Cancelled { reason } => (b'x', json!({"reason": reason})),
            Self::Committed => (
                b'r',
                json!({"error": "the transaction that completed the job was not committed"}),
            ),
            Self::Followed { outcome, .. } => return outcome.into_parts(),
        };
        make_storable(&mut detail);
        (letter, serde_json::value::to_raw_value(&detail).ok())
    }

    /// The word in metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed(_) | Self::Committed => "completed",
            Self::Followed { outcome, .. } => outcome.as_str(),
            Self::Failed { .. } => "failed",
            Self::Retry { .. } => "retried",
            Self::Snooze(_) => "snoozed",
            Self::Cancelled { .. } => "cancelled",
            Self::Wait => "waiting",
            Self::Released => "released",
        }
    }
}

/// The longest time after which something may be tried again.
const LONGEST: Duration = Duration::from_hours(24 * 3650);
/// Bytes of each text in an error, at most: the last errors of a job travel with it.
const TEXT: usize = 16 * 1024;

fn seconds(time: Duration) -> f64 {
    time.min(LONGEST).as_secs_f64()
}

/// Errors quote whatever went wrong, and PostgreSQL has no character for zero: an attempt is not to end
/// otherwise because of that.
fn make_storable(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
            if text.len() > TEXT {
                text.truncate(text.floor_char_boundary(TEXT));
                text.push('…');
            }
        }
        Value::Array(values) => values.iter_mut().for_each(make_storable),
        Value::Object(members) => {
            if members.keys().any(|key| key.contains('\0')) {
                let named = std::mem::take(members).into_iter();
                *members = named
                    .map(|(key, value)| (key.replace('\0', "\u{fffd}"), value))
                    .collect();
            }
            members.values_mut().for_each(make_storable);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_quotes_can_be_stored() {
        let error = json!({"a\0": ["b\0c", 1.5, null], "long": "é".repeat(TEXT)});
        let written = Outcome::Retry {
            error,
            after: Some(Duration::MAX),
        }
        .into_written();
        assert_eq!(written.state, b'r');
        let detail: Value =
            serde_json::from_str(written.detail.expect("JSON").get()).expect("JSON");
        assert_eq!(
            detail["error"]["a\u{fffd}"],
            json!(["b\u{fffd}c", 1.5, null])
        );
        let long = detail["error"]["long"].as_str().expect("text");
        assert!(
            long.len() <= TEXT + 3 && long.ends_with('…'),
            "{}",
            long.len()
        );
        assert_eq!(detail["delay"], json!(LONGEST.as_secs_f64()));
    }
}
