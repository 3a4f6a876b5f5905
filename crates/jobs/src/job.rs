//! A job as a handler sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The name of a job: the same through all its attempts.
pub type JobId = i64;

/// One attempt of a job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What is to be done.
    pub kind: Arc<str>,
    /// The queue it came from.
    pub queue: Arc<str>,
    /// 1 (first) to 4.
    pub priority: u8,
    /// JSON, as the producer gave it.
    pub args: Box<RawValue>,
    /// 1 for the first.
    pub attempt: u16,
    /// After this one there is none.
    pub max_attempts: u16,
    /// Who enqueued it; see [`crate::JobPrincipal`].
    pub principal: i64,
    /// When it was enqueued, or came back to its queue.
    pub enqueued_at: SystemTime,
    /// What else the producer said.
    pub options: JobOptions,
    /// What an earlier attempt left with [`crate::Context::checkpoint`].
    pub checkpoint: Option<Box<RawValue>>,
}

impl Job {
    /// The arguments as `T`.
    pub fn args<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.args.get())
    }

    /// The checkpoint of an earlier attempt as `T`, if there is one.
    pub fn checkpoint<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, serde_json::Error> {
        let read = |json: &'a RawValue| serde_json::from_str(json.get());
        self.checkpoint.as_deref().map(read).transpose()
    }
}

/// What travels with a job beside its arguments.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JobOptions {
    /// Seconds an attempt may take.
    pub deadline: Option<f64>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Whatever the producer wanted to be kept.
    pub metadata: Option<Box<RawValue>>,
    /// W3C `traceparent` of who enqueued it.
    pub trace: Option<String>,
    /// What went wrong before, the last ten.
    pub errors: Vec<AttemptError>,
    /// What the callback brought with which the job goes on.
    pub resume: Option<Box<RawValue>>,
}

impl JobOptions {
    /// One that is not as it should be costs none of the others.
    pub(crate) fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| {
            let members: BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(json).unwrap_or_default();
            let of = |name: &str| members.get(name).map(|json| json.get());
            Self {
                deadline: read(of("deadline")),
                tags: read(of("tags")),
                metadata: read(of("metadata")),
                trace: read(of("trace")),
                errors: read(of("errors")),
                resume: read(of("resume")),
            }
        })
    }

    /// [`Self::trace`], if it is a W3C `traceparent`: a producer wrote it.
    pub fn traceparent(&self) -> Option<&str> {
        let text = self.trace.as_deref()?;
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let parts = text.split('-');
        let fits = parts.clone().map(str::len).eq([2, 32, 16, 2])
            && parts.flat_map(str::bytes).all(digits);
        fits.then_some(text)
    }

    /// How long an attempt may take, if the producer said so.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }
}

fn read<T: Default + DeserializeOwned>(json: Option<&str>) -> T {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

/// How an earlier attempt ended.
#[derive(Debug, Clone, Deserialize)]
pub struct AttemptError {
    /// Which attempt.
    pub attempt: u16,
    /// When, as PostgreSQL writes it in JSON.
    pub at: String,
    /// What the handler said.
    pub error: Option<Box<RawValue>>,
}

/// An attempt's place in its claim, which is what ends it: once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// As whom it was claimed.
    pub(crate) worker: i64,
    pub(crate) claim: i64,
    pub(crate) claimed_at: SystemTime,
    pub(crate) ordinal: i16,
    pub(crate) flags: i16,
}

/// The bit of [`Attempt::flags`] that says that there are notes.
pub(crate) const NOTED: i16 = 4;

impl Attempt {
    pub(crate) fn place(&self) -> (i64, i16) {
        (self.claim, self.ordinal)
    }
}

/// For whom a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPrincipal {
    /// The role that enqueued it.
    pub role: String,
    /// Its OID then. A role that was made again is another one.
    pub role_oid: u32,
    /// The token it was enqueued with, if that was a request.
    pub token_id: Option<String>,
    /// Claims of that token, a JSON object, without those about its time.
    pub claims: Option<String>,
    /// What the API token is narrowed to now.
    pub scopes: Option<String>,
    /// The API token was revoked since.
    pub revoked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_odd_costs_none_of_the_others() {
        let options = JobOptions::read(
            r#"{"deadline": 1.5, "tags": ["a", null], "trace": "t", "resume": {"payload": 1}, "parent": 7}"#,
        );
        assert_eq!(options.deadline(), Some(Duration::from_millis(1500)));
        assert_eq!(options.trace.as_deref(), Some("t"));
        assert_eq!(
            options.resume.map(|json| json.get().to_owned()).as_deref(),
            Some(r#"{"payload": 1}"#)
        );
        assert!(options.tags.is_empty());
    }

    #[test]
    fn only_a_traceparent_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (text, is_one) in [
            (good, true),
            ("", false),
            (&good.to_uppercase(), false),
            (&format!("{good}-00"), false),
            (&good.replace('-', "_"), false),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\n",
                false,
            ),
        ] {
            let options = JobOptions {
                trace: Some(text.to_owned()),
                ..JobOptions::default()
            };
            assert_eq!(options.traceparent().is_some(), is_one, "{text}");
        }
    }
}
