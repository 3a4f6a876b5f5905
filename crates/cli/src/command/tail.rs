//! `rolegate job tail`: jobs as they come, and what becomes of them.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use super::connect::Target;
use super::rows::Rows;
use crate::logging::say;

/// Between two looks. Jobs announce nothing, or every one would pay for it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Which jobs to follow.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// When they are in this state.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// In this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// With this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// So many of the newest jobs are followed; of more that come within a second the oldest are left out.
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(i32).range(1..=1000))]
    newest: i32,
    /// So many of those that are there are printed first.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    last: usize,
    /// Ends after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// As JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// What was printed of a job.
type Seen = (String, i32);

impl Tail {
    pub(crate) async fn follow(&self) -> anyhow::Result<()> {
        let rows = Rows {
            source: "rolegate.list_jobs($1, $2, $3, $4, null, $5)",
            columns: &[
                ("id", "t.id"),
                ("state", "t.state"),
                ("queue", "t.queue"),
                ("kind", "t.kind"),
                ("attempt", "t.attempt || '/' || t.max_attempts"),
                ("reason", "t.reason"),
                ("enqueued by", "t.enqueued_by"),
            ],
            json: self.json,
        };
        let client = self.target.connect().await?;
        let sql = rows.sql(&self.target, ", t.id, t.state, t.attempt")?;
        let ends = self
            .seconds
            .map(|seconds| Instant::now() + Duration::from_secs(seconds));
        rows.head();
        let mut ended_before = String::new();
        let mut seen: Option<HashMap<i64, Seen>> = None;
        loop {
            // As long as no transaction has ended nothing is different.
            let snapshot = "select pg_catalog.pg_current_snapshot()::pg_catalog.text";
            let ended: String = client.query_one(snapshot, &[]).await?.try_get(0)?;
            if ended != ended_before {
                ended_before = ended;
                let values: [&(dyn ToSql + Sync); 5] = [
                    &self.state,
                    &self.queue,
                    &self.kind,
                    &self.tag,
                    &self.newest,
                ];
                let page = client.query(&sql, &values).await?;
                let mut now = HashMap::new();
                let mut lines = Vec::new();
                // The newest place first; a job that came back may be in it twice.
                for row in &page {
                    let Some(id) = row.try_get::<_, Option<i64>>(1)? else {
                        continue;
                    };
                    let is: Seen = (row.try_get(2)?, row.try_get(3)?);
                    let known = seen.as_ref().and_then(|seen| seen.get(&id));
                    if known != Some(&is) && !now.contains_key(&id) {
                        lines.push(row.try_get::<_, &str>(0)?);
                    }
                    now.entry(id).or_insert(is);
                }
                if seen.is_none() {
                    lines.truncate(self.last);
                }
                for line in lines.into_iter().rev() {
                    say(line);
                }
                seen = Some(now);
            }
            let next = Instant::now() + LOOK_AGAIN;
            if ends.is_some_and(|ends| ends <= next) {
                return Ok(());
            }
            tokio::time::sleep_until(next).await;
        }
    }
}
