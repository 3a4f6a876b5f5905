//! How an attempt ends.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

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
}

impl Outcome {
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

    /// Whether there will be more of the job.
    pub(crate) fn is_back(&self) -> bool {
        match self {
            Self::Completed(_) | Self::Failed { .. } | Self::Cancelled { .. } => false,
            Self::Retry { .. } | Self::Snooze(_) | Self::Wait | Self::Released => true,
        }
    }

    /// The letter and the detail that `rolegate.finish_jobs` takes.
    pub(crate) fn into_parts(self) -> (u8, Option<Box<RawValue>>) {
        let (letter, detail) = match self {
            Self::Completed(output) => return (b'c', output),
            Self::Released => return (b'b', None),
            Self::Wait => return (b'w', None),
            Self::Failed { error, reason } => (b'f', json!({"error": error, "reason": reason})),
            Self::Retry { error, after } => {
                let delay = after.map(|after| after.as_secs_f64());
                (b'r', json!({"error": error, "delay": delay}))
            }
            Self::Snooze(time) => (b's', json!({"delay": time.as_secs_f64()})),
            Self::Cancelled { reason } => (b'x', json!({"reason": reason})),
        };
        (letter, serde_json::value::to_raw_value(&detail).ok())
    }

    /// The word in metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Failed { .. } => "failed",
            Self::Retry { .. } => "retried",
            Self::Snooze(_) => "snoozed",
            Self::Cancelled { .. } => "cancelled",
            Self::Wait => "waiting",
            Self::Released => "released",
        }
    }
}
