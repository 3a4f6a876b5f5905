//! What is kept of a database's answers, and the queries they were made from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use rolegate_model::ErrorCode;
use rolegate_query::cache::{Cache, Entry, Hash};
use rolegate_query::encode::Format;
use rolegate_replication::{Feed, Lsn};
use tokio_util::sync::CancellationToken;

use super::flights::Flights;
use super::sources::Sources;
use super::{Answer, Wanted, since};
use crate::config::QueryCache;
use crate::database::Database;
use crate::metrics::{QUERY_CACHE, QUERY_CACHE_BYTES, QUERY_CACHE_ENTRIES};
use crate::problem::Problem;

/// Between two snapshots that are taken only to remember less, or after one that failed.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long queries may be known in this process only.
const STORE_AFTER: Duration = Duration::from_secs(1);

/// What is kept for one database.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) cache: Arc<Cache>,
    pub(super) flights: Flights<Hash, Option<Made>>,
    pub(super) sources: Sources,
    /// `Cache-Control` of answers at their own address, whose rows never change.
    pub(crate) lasting: HeaderValue,
    /// `Cache-Control` of answers at the address of their query.
    pub(crate) fresh: HeaderValue,
    looking: tokio::sync::Mutex<()>,
}

/// An answer that was made for everybody.
#[derive(Debug, Clone)]
pub(super) enum Made {
    /// It is kept.
    Kept {
        entry: Arc<Entry>,
        /// It is current up to here; `None`: there is a newer one already.
        current: Option<Lsn>,
    },
    /// It could not be.
    Once(Bytes),
}

impl Shelf {
    pub(crate) fn new(feed: Feed, bounds: &QueryCache) -> Self {
        let [lasting, fresh, stale] =
            [bounds.max_age, bounds.fresh, bounds.stale].map(|time| time.as_secs());
        // Written once: each answer has one of them.
        let header = |text: String| HeaderValue::try_from(text).expect("it is ASCII");
        Self {
            cache: Cache::new(feed, bounds.bytes),
            lasting: header(format!("public, max-age={lasting}")),
            fresh: header(format!(
                "public, max-age={fresh}, stale-while-revalidate={stale}"
            )),
            flights: Flights::default(),
            sources: Sources::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Whether anything can be kept.
    pub(super) fn follows(&self) -> bool {
        self.cache.feed().epoch().is_some()
    }

    /// Takes in what the stream tells, also while nobody asks, and writes down which queries there were, until
    /// `stop`.
    pub(crate) async fn follow(&self, database: &Database, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.take_in(database) => {}
            () = self.write_down(database) => {}
        }
    }

    async fn take_in(&self, database: &Database) {
        let mut told = self.cache.feed().subscribe();
        loop {
            told.next().await;
            while told.take().is_some() {}
            let wants_a_look = self.cache.advance();
            self.measure(database.name());
            if !wants_a_look {
                continue;
            }
            if let Err(problem) = self.look(database).await {
                tracing::debug!(message = %problem.message, "query_snapshot_failed");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn write_down(&self, database: &Database) {
        loop {
            self.sources.noted().await;
            tokio::time::sleep(STORE_AFTER).await;
            // What could not be written down is known in this process, and made known again when it is asked for.
            while matches!(self.sources.store(database).await, Ok(true)) {}
        }
    }

    fn measure(&self, database: &str) {
        let size = self.cache.size();
        let gauge = |name: &'static str, value: usize| {
            let value = u32::try_from(value).unwrap_or(u32::MAX);
            metrics::gauge!(name, "database" => database.to_owned()).set(value);
        };
        gauge(QUERY_CACHE_BYTES, size.bytes);
        gauge(QUERY_CACHE_ENTRIES, size.entries);
    }

    /// Looks if nothing could be kept otherwise, for at most so long: others may be looking, one after the other.
    pub(super) async fn settle(&self, database: &Database, most: Duration) {
        if self.cache.is_in_doubt() {
            // If it fails nothing is kept this time.
            let _ = tokio::time::timeout(most, self.look(database)).await;
        }
    }

    /// Takes a snapshot: what it shows need not be remembered any more.
    async fn look(&self, database: &Database) -> Result<(), Problem> {
        let _alone = self.looking.lock().await;
        let doubt = self.cache.is_in_doubt();
        if !doubt && !self.cache.advance() {
            return Ok(());
        }
        let Some(run) = self.cache.begin() else {
            return Ok(());
        };
        let (snapshot, at) = if doubt {
            since::settled(database).await?
        } else {
            since::seen(database).await?
        };
        let Some(at) = at else { return Ok(()) };
        let passed = self.cache.feed().wait_passed(at);
        match tokio::time::timeout(Duration::from_secs(5), passed).await {
            Ok(Ok(())) => run.look(&snapshot),
            _ => return Err(Problem::new(ErrorCode::DeadlineExceeded)),
        }
        Ok(())
    }
}

/// What a query is found by.
pub(super) fn hash(database: &str, wanted: &Wanted, format: Format) -> Hash {
    let fixed = [database, format.media_type(), &wanted.sql];
    let fixed = fixed.map(|part| Some(part.as_bytes()));
    let params = wanted.params.iter().map(Option::as_deref);
    Hash::of(fixed.into_iter().chain(params))
}

/// The answer that everybody gets now, if it is there.
pub(super) fn find(
    shelf: &Shelf,
    database: &Database,
    wanted: &Wanted,
    format: Format,
) -> Option<Answer> {
    let hash = hash(database.name(), wanted, format);
    let (entry, at) = shelf.cache.current(hash, &database.catalog_state())?;
    metrics::counter!(QUERY_CACHE, "outcome" => "found").increment(1);
    Some(Answer::Kept {
        entry,
        current: Some(at),
    })
}
