//! Answers that are not older than a write.

use std::time::Duration;

use http::HeaderMap;
use rolegate_model::ErrorCode;
use rolegate_query::{SEEN_SQL, Snapshot};
use rolegate_replication::{Feed, Lsn};

use crate::call::Session;
use crate::database::Database;
use crate::problem::Problem;

/// How long an answer is waited for that is new enough.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether a transaction has ended, at first.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What an answer must show at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// Everything committed before this position in the log.
    Lsn(Lsn),
    /// This transaction.
    Txid(u64),
}

impl Since {
    /// The headers that say it.
    pub(crate) const HEADERS: &str = "rolegate-min-lsn, rolegate-txid";

    /// Whether one of them is there.
    pub(crate) fn is_in(headers: &HeaderMap) -> bool {
        Self::HEADERS
            .split(", ")
            .any(|name| headers.contains_key(name))
    }

    /// From `Rolegate-Min-Lsn` or `Rolegate-Txid`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let text = |name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap_or_default())
        };
        match (text("rolegate-min-lsn"), text("rolegate-txid")) {
            (None, None) => Ok(None),
            (Some(lsn), None) => match lsn.parse() {
                Ok(lsn) => Ok(Some(Self::Lsn(lsn))),
                Err(_) => Err(
                    Problem::at("Rolegate-Min-Lsn", "is not a position in the log")
                        .hint("As PostgreSQL writes it: 16/B374D848."),
                ),
            },
            (None, Some(txid)) => match txid.parse() {
                Ok(txid) => Ok(Some(Self::Txid(txid))),
                Err(_) => Err(Problem::at("Rolegate-Txid", "is not a transaction id")
                    .hint("As pg_current_xact_id() gives it, with all its digits.")),
            },
            (Some(_), Some(_)) => Err(Problem::at("Rolegate-Txid", "is one too many")
                .hint("Send it or Rolegate-Min-Lsn.")),
        }
    }

    /// Waits until what is kept is as new as that. Where nothing is followed nothing is kept either, and every answer
    /// is as new as the database.
    pub(crate) async fn wait(self, session: &Session, feed: &Feed) -> Result<(), Problem> {
        if let (Self::Lsn(lsn), Some(passed)) = (self, feed.passed())
            && passed >= lsn
        {
            return Ok(());
        }
        // Anybody can say anything: whoever waits counts as one who runs something.
        let _permit = session.admit()?;
        let waited = tokio::time::timeout(PATIENCE, async {
            let lsn = self.position(session).await?;
            if let Some(lsn) = lsn {
                // Not followed any more: nothing that is kept will be used.
                let _ = feed.wait_passed(lsn).await;
            }
            Ok(())
        });
        waited.await.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            Err(Problem::new(ErrorCode::DeadlineExceeded)
                .message(format!(
                    "The database did not come to that within {seconds} s."
                ))
                .hint("Was the transaction committed? Repeat the query.")
                .retry_after(Duration::from_secs(1)))
        })
    }

    /// The position in the log that has to be passed; none on a standby.
    async fn position(self, session: &Session) -> Result<Option<Lsn>, Problem> {
        let mut pause = PAUSE;
        loop {
            let (snapshot, at) = seen(&session.database).await?;
            let Some(at) = at else { return Ok(None) };
            match self {
                Self::Lsn(lsn) if lsn <= at => return Ok(Some(lsn)),
                Self::Lsn(_) => {
                    return Err(
                        Problem::at("Rolegate-Min-Lsn", "is ahead of the database's log")
                            .hint("Take it from the server that the gateway reads."),
                    );
                }
                Self::Txid(txid) if snapshot.contains(txid) => return Ok(Some(at)),
                Self::Txid(txid) if !snapshot.had_begun(txid) => {
                    return Err(Problem::at("Rolegate-Txid", "is no transaction yet")
                        .hint("Take it from the server that the gateway reads."));
                }
                Self::Txid(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// The same, with a snapshot that lists every transaction which has begun and not ended: one of our own has got a later
/// id and has ended. It writes nothing but that, and waits for no disk and no standby.
pub(crate) async fn settled(database: &Database) -> Result<(Snapshot, Option<Lsn>), Problem> {
    const END_ONE: &str = "select pg_catalog.set_config('synchronous_commit', 'off', true), \
        case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_current_xact_id()::text end";
    let client = database.own.get().await.map_err(|error| failed(&error))?;
    let ended = client.query_one(END_ONE, &[]).await;
    ended.map_err(|error| failed(&error))?;
    drop(client);
    seen(database).await
}

fn failed(error: &dyn std::error::Error) -> Problem {
    tracing::warn!(error = %error, "query_snapshot_failed");
    Problem::new(ErrorCode::DatabaseUnavailable)
}

/// A snapshot of now, and a position behind everything it shows; none on a standby.
pub(crate) async fn seen(database: &Database) -> Result<(Snapshot, Option<Lsn>), Problem> {
    let client = database.own.get().await.map_err(|error| failed(&error))?;
    let row = client
        .query_one(SEEN_SQL, &[])
        .await
        .map_err(|error| failed(&error))?;
    let snapshot: &str = row.try_get(0).map_err(|error| failed(&error))?;
    let at: Option<&str> = row.try_get(1).map_err(|error| failed(&error))?;
    let snapshot = snapshot.parse().map_err(|error| failed(&error))?;
    let at = at
        .map(str::parse)
        .transpose()
        .map_err(|error| failed(&error))?;
    Ok((snapshot, at))
}
