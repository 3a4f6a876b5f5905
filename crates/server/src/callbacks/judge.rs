//! What the rules of a callback make of a call.

use std::sync::Arc;
use std::time::Duration;

use rolegate_rules::{CallbackRules, NotJudged, Verdict};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Calls that are judged at the same time, each on a thread of its own, with some megabytes.
const PARALLEL: usize = 2;
/// How long a call waits until it is its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a payload that are kept with the error of an attempt that it failed.
const MAX_KEPT: usize = 4096;

/// Judges calls, a few at a time.
pub(super) struct Judge {
    turns: Arc<Semaphore>,
    patience: Duration,
}

/// A call that was judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is not for this wait, or says nothing yet.
    Ignored,
    /// It is made, with this payload, and this about the rules.
    Made {
        payload: Option<String>,
        judged: String,
    },
}

/// Why a call was not judged.
#[derive(Debug, thiserror::Error)]
pub(super) enum JudgeError {
    #[error("{0}")]
    NotJudged(NotJudged),
    /// Whoever registered them did not look, or has other ones.
    #[error("the rules can't be read: {0}")]
    Rules(String),
    #[error("others are being judged")]
    Busy,
    #[error("judging ended early")]
    Lost,
}

/// What the database is told.
#[derive(Serialize)]
struct By<'a> {
    by: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(PARALLEL)),
            patience: PATIENCE,
        }
    }
}

impl Judge {
    /// By these rules, as the database has them.
    pub(super) async fn judge(
        &self,
        rules: String,
        payload: Option<String>,
    ) -> Result<Judged, JudgeError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(self.patience, turn).await else {
            return Err(JudgeError::Busy);
        };
        // A caller that leaves does not end it: its turn is over when the work is.
        let judged = tokio::task::spawn_blocking(move || {
            let judged = judge(rules, payload);
            drop(turn);
            judged
        });
        judged.await.map_err(|_| JudgeError::Lost)?
    }
}

fn judge(rules: String, payload: Option<String>) -> Result<Judged, JudgeError> {
    let unreadable = |error: &dyn std::fmt::Display| JudgeError::Rules(error.to_string());
    let read: CallbackRules = serde_json::from_str(&rules).map_err(|error| unreadable(&error))?;
    let compiled = read.compile().map_err(|error| unreadable(&error))?;
    let verdict = compiled.judge(payload.as_deref());
    let (payload, error) = match verdict.map_err(JudgeError::NotJudged)? {
        Verdict::Ignored => return Ok(Judged::Ignored),
        Verdict::Accepted { payload } => (payload, None),
        Verdict::Failed { rule } => (None, Some(failure(rule, payload))),
    };
    let by = RawValue::from_string(rules).map_err(|error| unreadable(&error))?;
    let judged = serde_json::to_string(&By { by: &by, error });
    Ok(Judged::Made {
        payload,
        judged: judged.map_err(|error| unreadable(&error))?,
    })
}

/// For people: which rule, and what the answer brought.
fn failure(rule: &'static str, payload: Option<String>) -> Value {
    let payload = payload.filter(|payload| payload.len() <= MAX_KEPT);
    let payload = payload.and_then(|payload| serde_json::from_str::<Value>(&payload).ok());
    let message = "the answer to the callback means failure";
    match payload {
        Some(payload) => json!({"message": message, "rule": rule, "payload": payload}),
        None => json!({"message": message, "rule": rule}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_told_by_which_rules_and_what_failed() {
        let by = |rules: &str, payload: &str| judge(rules.to_owned(), Some(payload.to_owned()));
        let rules = r#"{"on_fail": "payload.n > 1.5", "transform": "[payload.n]"}"#;
        let Ok(Judged::Made { payload, judged }) = by(rules, r#"{"n": 1.10}"#) else {
            panic!("it counts");
        };
        assert_eq!(payload.as_deref(), Some("[1.10]"));
        assert_eq!(judged, format!("{{\"by\":{rules}}}"));
        let Ok(Judged::Made { payload, judged }) = by(rules, r#"{"n": 2}"#) else {
            panic!("it failed");
        };
        assert_eq!(payload, None);
        let judged: Value = serde_json::from_str(&judged).expect("JSON");
        assert_eq!(judged["error"]["rule"], "on_fail");
        assert_eq!(judged["error"]["payload"], json!({"n": 2}));
        let long = format!(r#"{{"n": 2, "x": "{}"}}"#, "x".repeat(MAX_KEPT));
        let Ok(Judged::Made { judged, .. }) = by(rules, &long) else {
            panic!("it failed");
        };
        assert!(judged.len() < 300, "{judged}");
        assert!(matches!(by(rules, "{}"), Err(JudgeError::NotJudged(_))));
        for rules in ["{\"on_error\": \"true\"}", "{\"filter\": \"x\"}", "5"] {
            assert!(
                matches!(by(rules, "{}"), Err(JudgeError::Rules(_))),
                "{rules}"
            );
        }
    }

    #[tokio::test]
    async fn calls_wait_for_their_turn_and_not_for_ever() {
        let judge = Judge {
            patience: Duration::from_millis(20),
            ..Judge::default()
        };
        let turn = Arc::clone(&judge.turns).acquire_owned();
        let (turn, other) = tokio::join!(turn, Arc::clone(&judge.turns).acquire_owned());
        let busy = judge.judge("{}".to_owned(), None).await;
        assert!(matches!(busy, Err(JudgeError::Busy)));
        drop(turn);
        assert!(judge.judge("{}".to_owned(), None).await.is_ok());
        drop(other);
    }
}
