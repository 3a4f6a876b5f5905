//! Queries that were answered to everybody, by the hashes of their cursors: a cursor whose answer is not held any more
//! is made again from them. Here for this process, and in the database for all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use rolegate_model::ErrorCode;
use rolegate_query::cache::Hash;
use rolegate_query::encode::Format;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Wanted;
use crate::database::Database;
use crate::problem::Problem;

/// Bytes that are remembered here.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What one of them takes beside its text and values, about.
const BYTES_BESIDE: usize = 256;
/// Queries that wait to be written down; more than that are not.
const MOST_WAITING: usize = 1000;
/// Queries that are written down at a time.
const PAGE: usize = 200;
/// Queries that are kept in the database.
const MOST_STORED: i32 = 10_000;
/// Longer ones are not written down.
const LONGEST_STORED: usize = 8 * 1024;

/// A query that was answered to everybody.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) wanted: Wanted,
    pub(crate) format: Format,
}

impl Source {
    fn weight(&self) -> usize {
        BYTES_BESIDE + self.wanted.weight()
    }
}

/// Those of one database.
#[derive(Debug)]
pub(super) struct Sources {
    inner: Mutex<Inner>,
    noted: Notify,
}

#[derive(Debug)]
struct Inner {
    known: LruCache<Hash, Arc<Source>>,
    bytes: usize,
    waiting: Vec<(Hash, Arc<Source>)>,
}

impl Default for Sources {
    fn default() -> Self {
        let inner = Inner {
            known: LruCache::unbounded(),
            bytes: 0,
            waiting: Vec::new(),
        };
        Self {
            inner: Mutex::new(inner),
            noted: Notify::new(),
        }
    }
}

impl Sources {
    pub(super) fn remember(&self, hash: Hash, wanted: &Wanted, format: Format) {
        let mut inner = self.inner();
        if inner.known.get(&hash).is_some() {
            return;
        }
        let source = Arc::new(Source {
            wanted: wanted.clone(),
            format,
        });
        if wanted.weight() <= LONGEST_STORED && inner.waiting.len() < MOST_WAITING {
            inner.waiting.push((hash, Arc::clone(&source)));
            self.noted.notify_one();
        }
        inner.hold(hash, source);
    }

    /// Returns when there is something to write down.
    pub(super) async fn noted(&self) {
        self.noted.notified().await;
    }

    /// Writes down what is new. Whether there is more.
    pub(super) async fn store(&self, database: &Database) -> Result<bool, Problem> {
        let (page, more) = {
            let mut inner = self.inner();
            let end = inner.waiting.len().min(PAGE);
            let page: Vec<_> = inner.waiting.drain(..end).collect();
            (page, !inner.waiting.is_empty())
        };
        if page.is_empty() {
            return Ok(false);
        }
        let queries: Vec<Value> = page
            .iter()
            .map(|(hash, source)| written(*hash, source))
            .collect();
        let sql = database.sql.of("select rolegate.remember_queries($1, $2)");
        let client = database.own.get().await.map_err(|error| failed(&error))?;
        let stored = client
            .execute(&sql, &[&Value::Array(queries), &MOST_STORED])
            .await;
        stored.map_err(|error| failed(&error))?;
        Ok(more)
    }

    /// The query of a cursor, if it is known here.
    pub(super) fn known(&self, hash: Hash) -> Option<Arc<Source>> {
        self.inner().known.get(&hash).map(Arc::clone)
    }

    /// The query of a cursor.
    pub(super) async fn find(
        &self,
        database: &Database,
        hash: Hash,
    ) -> Result<Option<Arc<Source>>, Problem> {
        if let Some(known) = self.known(hash) {
            return Ok(Some(known));
        }
        let turn = database.analyses.turn().await;
        let _turn = turn.map_err(|error| failed(&error))?;
        let sql = database
            .sql
            .of("select form, sql, params from rolegate.query_source($1)");
        let client = database.own.get().await.map_err(|error| failed(&error))?;
        let row = client.query_opt(&sql, &[&hash.as_bytes().as_slice()]).await;
        let Some(row) = row.map_err(|error| failed(&error))? else {
            return Ok(None);
        };
        let (form, sql, params) = (row.try_get(0), row.try_get(1), row.try_get(2));
        let (form, sql, params): (&str, String, Value) = match (form, sql, params) {
            (Ok(form), Ok(sql), Ok(params)) => (form, sql, params),
            (form, sql, params) => {
                let error = form.err().or(sql.err()).or(params.err());
                return error.map_or(Ok(None), |error| Err(failed(&error)));
            }
        };
        let Some(format) = Format::of_media_type(form) else {
            return Ok(None);
        };
        let wanted = Wanted {
            sql,
            params: values(&params),
            database: None,
        };
        // Whatever stands there: it is the query of this cursor, or of none.
        if super::kept::hash(database.name(), &wanted, format) != hash {
            return Ok(None);
        }
        let source = Arc::new(Source { wanted, format });
        self.inner().hold(hash, Arc::clone(&source));
        Ok(Some(source))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn hold(&mut self, hash: Hash, source: Arc<Source>) {
        self.bytes += source.weight();
        if let Some(old) = self.known.put(hash, source) {
            self.bytes -= old.weight();
        }
        while self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.known.pop_lru() else {
                return;
            };
            self.bytes -= oldest.weight();
        }
    }
}

fn written(hash: Hash, source: &Source) -> Value {
    let text = |param: &Bytes| String::from_utf8_lossy(param).into_owned();
    let params = source.wanted.params.iter();
    let params: Vec<Option<String>> = params.map(|param| param.as_ref().map(text)).collect();
    json!({
        "hash": hash.to_string(),
        "form": source.format.media_type(),
        "sql": source.wanted.sql,
        "params": params,
    })
}

fn values(params: &Value) -> Vec<Option<Bytes>> {
    let params = params.as_array().into_iter().flatten();
    let text = |param: &Value| {
        param
            .as_str()
            .map(|text| Bytes::copy_from_slice(text.as_bytes()))
    };
    params.map(text).collect()
}

fn failed(error: &dyn std::error::Error) -> Problem {
    tracing::warn!(error = %error, "query_source_failed");
    Problem::new(ErrorCode::DatabaseUnavailable)
}
