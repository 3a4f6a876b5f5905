//! An answer that is made now: for one request, or for everybody.

use std::time::Duration;

use bytes::Bytes;
use rolegate_pg::session::Rows;
use rolegate_query::cache::{Draft, Kept};
use rolegate_query::encode::{Format, Unwritten};
use rolegate_query::{Analysis, Touch, is_as_expected};

use super::analyses::Found;
use super::kept::{Made, Shelf, hash};
use super::{Answer, Asked, Evaluated, Scope, Wanted, evaluate, outcome};
use crate::call::Session;
use crate::metrics::QUERY_CACHE;
use crate::problem::Problem;

/// How long an answer waits for the change stream to come to where it was read.
const STREAM: Duration = Duration::from_secs(2);
/// How often a result is read again that lacks something earlier than what it shows.
const TRIES: usize = 5;
/// The pause before that: what was committed becomes visible within moments.
const PAUSE: Duration = Duration::from_millis(5);

/// What is needed to make an answer.
#[derive(Debug)]
pub(super) struct Making<'m> {
    /// As whom it runs.
    pub(super) session: &'m Session,
    /// Who asks: it counts for him.
    pub(super) payer: &'m Session,
    pub(super) wanted: &'m Wanted,
    pub(super) asked: &'m Asked,
    pub(super) found: &'m Found,
    pub(super) format: Format,
    /// It is not tried once more.
    pub(super) last: bool,
}

impl Making<'_> {
    /// For this request only. `None`: the tables have changed since they were looked at.
    pub(super) async fn once(&self, scope: Scope) -> Result<Option<Answer>, Problem> {
        let analysis = self.found.analysis().map_err(outcome::to_caller)?;
        let statement = evaluate::statement(self.asked, self.found, self.found.is_known())?;
        let reply = self.session.run_query(self.payer, vec![statement]).await;
        let rows = reply
            .map_err(outcome::of_run)?
            .results
            .pop()
            .unwrap_or_default();
        let body = self.body(analysis, &rows)?;
        Ok(body.map(|body| Answer::Once {
            scope,
            body,
            purge: self.purge(),
        }))
    }

    /// The rows as they were asked for. `None`: the tables have changed since they were looked at.
    fn body(&self, analysis: &Analysis, rows: &Rows) -> Result<Option<Bytes>, Problem> {
        if !is_as_expected(&analysis.columns, &rows.fields) {
            return Ok(None);
        }
        match self.format.encode(&analysis.columns, rows) {
            Ok(body) => Ok(Some(body)),
            Err(Unwritten::Changed) => Ok(None),
            Err(Unwritten::Beyond(column)) => Err(outcome::beyond(&column)),
        }
    }

    /// Whether what is made depends on nothing but tables whose changes are seen.
    pub(super) fn can_be_kept(&self) -> bool {
        let kept = self
            .found
            .analysis()
            .is_ok_and(|analysis| analysis.unkept.is_empty());
        kept && self.asked.moving().next().is_none()
    }

    /// What copies of it are purged by elsewhere.
    fn purge(&self) -> Bytes {
        let header = self.session.database.config.purge_header.as_ref();
        let keys = header.zip(self.found.analysis().ok());
        keys.map_or_else(Bytes::new, |(header, analysis)| header.keys(analysis))
    }

    /// For everybody: once for all who want it at the same time, unless this request needs what is newer than what
    /// others wait for.
    pub(super) async fn for_everybody(
        &self,
        keep: &Shelf,
        alone: bool,
    ) -> Result<Option<Answer>, Problem> {
        let made = if alone {
            self.make(keep).await
        } else {
            let hash = hash(self.session.database.name(), self.wanted, self.format);
            keep.flights.join(&hash, || self.make(keep)).await
        };
        Ok(made?.map(|made| match made {
            Made::Kept { entry, current } => Answer::Kept { entry, current },
            Made::Once(body) => Answer::Once {
                scope: Scope::Public,
                body,
                purge: self.purge(),
            },
        }))
    }

    async fn make(&self, keep: &Shelf) -> Result<Option<Made>, Problem> {
        let analysis = self.found.analysis().map_err(outcome::to_caller)?;
        let database = &self.session.database;
        let hash = hash(database.name(), self.wanted, self.format);
        let mut torn = None;
        keep.settle(database, STREAM).await;
        for _ in 0..TRIES {
            let run = keep.cache.begin();
            let known = self.found.is_known();
            let Evaluated { rows, snapshot, at } =
                evaluate(self.session, self.payer, self.asked, self.found, known).await?;
            let Some(body) = self.body(analysis, &rows)? else {
                return Ok(None);
            };
            drop(rows);
            let feed = keep.cache.feed();
            let (Some(run), Some(at)) = (run, at) else {
                return Ok(Some(said("unfollowed", Made::Once(body))));
            };
            let passed = tokio::time::timeout(STREAM, feed.wait_passed(at)).await;
            if !matches!(passed, Ok(Ok(()))) {
                return Ok(Some(said("unfollowed", Made::Once(body))));
            }
            let draft = Draft {
                hash,
                format: self.format,
                body: body.clone(),
                touch: Touch::of(analysis, &self.asked.text, &self.asked.params),
                purge: self.purge(),
                catalog: self.found.catalog(),
            };
            let kept = run.end(&snapshot, draft);
            if database.catalog_state() != self.found.catalog() {
                // It may have other columns by now, or other rights.
                return Ok(self.last.then_some(Made::Once(body)));
            }
            let (outcome, entry, current) = match kept {
                Kept::Current(entry) => ("made", entry, Some(at)),
                Kept::Superseded(entry) => ("superseded", entry, None),
                Kept::Not(body) => return Ok(Some(said("unkept", Made::Once(body)))),
                Kept::Torn => {
                    torn = Some(body);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            keep.sources.remember(hash, self.wanted, self.format);
            return Ok(Some(said(outcome, Made::Kept { entry, current })));
        }
        // Right as an answer, as every snapshot is; but it has no version.
        Ok(torn.map(|body| said("torn", Made::Once(body))))
    }
}

fn said(outcome: &'static str, made: Made) -> Made {
    metrics::counter!(QUERY_CACHE, "outcome" => outcome).increment(1);
    made
}
