//! Any number of jobs, of all kinds, by `copy` into the staging table.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt as _;
use jiff::Timestamp;
use rolegate_pg::EngineSql;
use tokio_postgres::{CopyInSink, GenericClient};

use super::value::Value;
use super::{Enqueue, EnqueueError};

const COPY: &str = "copy rolegate.job_staging (kind, args, queue, priority, max_attempts, run_at, \
    run_after, unique_key, on_conflict, unique_for, deadline, tags, metadata, trace, ordering_key, \
    limit_key, backoff, max_backoff) from stdin";

/// Columns after `kind` and `args`, with what stands there if nothing was said: before PostgreSQL 16 a line
/// can't ask for the default.
const COLUMNS: [(&str, &str); 16] = [
    ("queue", "default"),
    ("priority", "2"),
    ("max_attempts", "25"),
    ("run_at", NULL),
    ("run_after", NULL),
    ("unique_key", NULL),
    ("on_conflict", "error"),
    ("unique_for", NULL),
    ("deadline", NULL),
    ("tags", NULL),
    ("metadata", NULL),
    ("trace", NULL),
    ("ordering_key", NULL),
    ("limit_key", NULL),
    ("backoff", NULL),
    ("max_backoff", NULL),
];
const NULL: &str = "\\N";

/// Bytes that are sent together.
const CHUNK: usize = 64 * 1024;

/// Copies jobs into the staging table, in the client's transaction or in one of its own. What is dropped
/// before [`Self::finish`] copies nothing.
///
/// They are jobs once the maintenance has moved them there, a moment after the commit; their ids are not
/// known before. Another job with a unique key makes one a dead letter (`unique_key_taken`).
#[must_use = "jobs are enqueued when the copy is finished"]
pub struct EnqueueCopy {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    rows: BytesMut,
}

impl std::fmt::Debug for EnqueueCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnqueueCopy").finish_non_exhaustive()
    }
}

impl EnqueueCopy {
    /// Begins to copy. Until it is finished the client can do nothing else. Behind a transaction pooler it has
    /// to be in a transaction, because the statement is prepared.
    pub async fn start<C: GenericClient + Sync>(client: &C) -> Result<Self, EnqueueError> {
        Self::start_with(client, COPY).await
    }

    /// The same where the engine's schema is called otherwise.
    pub async fn start_in<C: GenericClient + Sync>(
        client: &C,
        sql: &Arc<EngineSql>,
    ) -> Result<Self, EnqueueError> {
        Self::start_with(client, &sql.of(COPY)).await
    }

    async fn start_with<C: GenericClient + Sync>(
        client: &C,
        copy: &str,
    ) -> Result<Self, EnqueueError> {
        Ok(Self {
            sink: Box::pin(client.client().copy_in(copy).await?),
            rows: BytesMut::with_capacity(CHUNK),
        })
    }

    /// One job more. Its [`Enqueue::schema`] does not count. If it is no JSON, the others may go on.
    pub async fn add(&mut self, job: Enqueue) -> Result<(), EnqueueError> {
        write_row(&mut self.rows, job)?;
        if self.rows.len() >= CHUNK {
            let rows = self.rows.split().freeze();
            self.sink.send(rows).await?;
        }
        Ok(())
    }

    /// How many jobs were copied. An error: none, because of one that is not as it has to be, or because
    /// this role may not.
    pub async fn finish(mut self) -> Result<u64, EnqueueError> {
        if !self.rows.is_empty() {
            let rows = self.rows.split().freeze();
            self.sink.send(rows).await?;
        }
        Ok(self.sink.as_mut().finish().await?)
    }
}

/// Nothing is written if it is no JSON.
fn write_row(rows: &mut BytesMut, job: Enqueue) -> Result<(), EnqueueError> {
    job.metadata?;
    let args = job.args?;
    if job.unique_by.is_some() {
        return Err(EnqueueError::UniqueBy);
    }
    write_text(rows, &job.kind);
    rows.extend_from_slice(b"\t");
    write_text(rows, args.get());
    let values: Vec<(&str, String)> = job.options.into_iter().map(text_of).collect();
    for (name, otherwise) in COLUMNS {
        rows.extend_from_slice(b"\t");
        match values.iter().find(|(given, _)| *given == name) {
            Some((_, value)) => write_text(rows, value),
            None => rows.extend_from_slice(otherwise.as_bytes()),
        }
    }
    rows.extend_from_slice(b"\n");
    Ok(())
}

/// The column, and its value as PostgreSQL reads it.
fn text_of((name, value): (&'static str, Value)) -> (&'static str, String) {
    match value {
        Value::Text(text) => (name, text),
        Value::Texts(texts) => (name, array_of(texts.iter().map(String::as_str))),
        Value::Number(number) => (name, number.to_string()),
        Value::Json(json) => (name, json.get().to_owned()),
        Value::Jsons(jsons) => (name, array_of(jsons.iter().map(|json| json.get()))),
        Value::Interval(seconds) => (name, format!("{seconds} seconds")),
        Value::After(seconds) => ("run_after", format!("{seconds} seconds")),
        Value::Time(seconds) => (name, time_of(seconds).to_string()),
    }
}

/// A time before 1970 is as well now.
#[expect(
    clippy::cast_possible_truncation,
    reason = "it is clamped, and more than microseconds are not kept"
)]
fn time_of(seconds: f64) -> Timestamp {
    let most = Timestamp::MAX.as_microsecond();
    let microseconds = (seconds * 1e6).max(0.0) as i64;
    Timestamp::from_microsecond(microseconds.min(most)).unwrap_or(Timestamp::MAX)
}

fn array_of<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut array = String::from("{");
    for (nth, text) in texts.enumerate() {
        array.push_str(if nth == 0 { "\"" } else { ",\"" });
        for letter in text.chars() {
            if matches!(letter, '"' | '\\') {
                array.push('\\');
            }
            array.push(letter);
        }
        array.push('"');
    }
    array.push('}');
    array
}

/// As a field of the text format.
fn write_text(rows: &mut BytesMut, text: &str) {
    for piece in text.as_bytes().split_inclusive(|byte| is_special(*byte)) {
        match piece.split_last() {
            Some((last, before)) if is_special(*last) => {
                rows.extend_from_slice(before);
                rows.extend_from_slice(match last {
                    b'\t' => b"\\t",
                    b'\n' => b"\\n",
                    b'\r' => b"\\r",
                    _ => b"\\\\",
                });
            }
            _ => rows.extend_from_slice(piece),
        }
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn row(job: Enqueue) -> String {
        let mut rows = BytesMut::new();
        write_row(&mut rows, job).unwrap();
        String::from_utf8(rows.to_vec()).unwrap()
    }

    #[test]
    fn a_job_is_a_line_of_the_text_format() {
        assert_eq!(
            row(Enqueue::of("k", &1)),
            "k\t1\tdefault\t2\t25\t\\N\t\\N\t\\N\terror\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n"
        );
        let job = Enqueue::of("a\tb\n\\c\r", &"x\"\\")
            .run_after(Duration::from_millis(1500))
            .unique_key("\\N")
            .or_existing()
            .tags(["a,b", "c\"\\"])
            .limit_key("l")
            .backoff(Duration::from_secs(2));
        assert_eq!(
            row(job),
            "a\\tb\\n\\\\c\\r\t\"x\\\\\"\\\\\\\\\"\tdefault\t2\t25\t\\N\t1.5 seconds\t\\\\N\texisting\t\
             \\N\t\\N\t{\"a,b\",\"c\\\\\"\\\\\\\\\"}\t\\N\t\\N\t\\N\tl\t2 seconds\t\\N\n"
        );
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        assert!(row(Enqueue::of("k", &1).run_at(at)).contains("\t1970-01-01T00:00:01.5Z\t"));
        let never = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60);
        assert!(row(Enqueue::of("k", &1).run_at(never)).contains("\t9999-12-30T"));
    }

    #[test]
    fn what_is_no_json_leaves_nothing_behind() {
        let keys = std::collections::BTreeMap::from([(vec![1], 1)]);
        let mut rows = BytesMut::new();
        assert!(write_row(&mut rows, Enqueue::of("k", &keys)).is_err());
        assert!(write_row(&mut rows, Enqueue::of("k", &1).metadata(&keys)).is_err());
        assert!(rows.is_empty());
    }
}
