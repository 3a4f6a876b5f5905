//! Shows what is in the queues as metrics.

use std::time::Duration;

use tokio_postgres::Error;

use super::metrics;
use super::steps::Steps;

/// Between two looks; more if counting takes long.
pub(super) const EVERY: Duration = Duration::from_secs(15);
/// Queues with a name of their own in the metrics; the rest is together in `other`.
const MOST_QUEUES: usize = 100;
const OTHER: &str = "other";

/// States as in the columns of the query.
const STATES: [&str; 6] = [
    "available",
    "running",
    "scheduled",
    "retryable",
    "waiting_external",
    "dead_letter",
];

const QUERY: &str = "\
select q.queue, q.available, q.running, q.scheduled, q.retryable, q.waiting_external, q.dead_letters,
    coalesce(extract(epoch from q.oldest_available), 0)::float8, q.paused_at is not null
from rolegate.queues() q";

/// One queue, or several together.
#[derive(Debug, Default)]
struct Depth {
    counts: [i64; STATES.len()],
    oldest: f64,
    paused: bool,
}

const STAGING: &str = "\
select s.waiting, coalesce(extract(epoch from s.oldest), 0)::float8 from rolegate.staging() s";

pub(super) async fn look(steps: &Steps) -> Result<(), Error> {
    let row = steps
        .session
        .client
        .query_one(&steps.sql(STAGING), &[])
        .await?;
    metrics::staging(steps.database(), row.try_get(0)?, row.try_get(1)?);
    let rows = steps.session.client.query(&steps.sql(QUERY), &[]).await?;
    let mut others = Depth::default();
    for (index, row) in rows.iter().enumerate() {
        let mut depth = Depth {
            oldest: row.try_get(7)?,
            paused: row.try_get(8)?,
            ..Depth::default()
        };
        for (column, count) in depth.counts.iter_mut().enumerate() {
            *count = row.try_get(column + 1)?;
        }
        if index < MOST_QUEUES {
            show(steps.database(), row.try_get(0)?, &depth);
        } else {
            others.add(&depth);
        }
    }
    if rows.len() > MOST_QUEUES {
        show(steps.database(), OTHER, &others);
    }
    Ok(())
}

impl Depth {
    fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.oldest = self.oldest.max(other.oldest);
        self.paused |= other.paused;
    }
}

fn show(database: &str, queue: &str, depth: &Depth) {
    for (state, count) in STATES.into_iter().zip(depth.counts) {
        metrics::depth(database, queue, state, count);
    }
    metrics::queue(database, queue, depth.oldest, depth.paused);
}
