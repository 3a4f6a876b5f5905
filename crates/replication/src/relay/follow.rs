//! Following what another process reads.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rolegate_pg::EngineSql;
use rolegate_pg::own::{OwnPool, OwnPoolError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::hear::{Resume, hear};
use super::keys::Pin;
use super::{Ended, PROTOCOL};
use crate::feed::{Feed, Relayed};
use crate::metrics;

/// Between two attempts, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After a connection that lasted so long the pauses begin again.
const LASTED: Duration = Duration::from_secs(30);

/// Whose stream, and how to find out who passes it on.
#[derive(Debug, Clone)]
pub struct FollowConfig {
    /// The database in metrics and logs.
    pub database: Arc<str>,
    /// Connections of a login that may know the relay.
    pub pool: OwnPool,
    /// Statements for its schema.
    pub sql: Arc<EngineSql>,
    /// Becomes another one when there may be another relay.
    pub term: watch::Receiver<Option<i64>>,
}

/// What is offered.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) term: i64,
    pub(super) protocol: i32,
    pub(super) address: String,
    pub(super) secret: Vec<u8>,
    pub(super) pin: Pin,
}

/// The database did not say.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("no connection to the database")]
    Connect(#[from] OwnPoolError),
    #[error("the database refused or went away")]
    Database(#[from] tokio_postgres::Error),
    #[error("a relay without a key")]
    Key,
}

/// Feeds `feed` with what another process reads, whenever this one does not and another one passes it on; until `stop`.
pub async fn follow(config: FollowConfig, feed: Feed, stop: CancellationToken) {
    metrics::describe();
    let mut follower = Follower {
        config,
        feed,
        resume: None,
        said_protocol: None,
        pause: FIRST_PAUSE,
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        never = follower.run() => match never {},
    }
    if let Some(relayed) = follower.feed.relayed() {
        relayed.is_none();
    }
}

struct Follower {
    config: FollowConfig,
    feed: Feed,
    resume: Option<Resume>,
    said_protocol: Option<i32>,
    pause: Duration,
}

impl Follower {
    async fn run(&mut self) -> Infallible {
        let mut leads = self.feed.leads();
        loop {
            // The feed is held here, so the sender is there.
            let _ = leads.wait_for(|leads| !leads).await;
            let Some(relayed) = self.feed.relayed() else {
                continue;
            };
            tokio::select! {
                biased;
                // It says itself that what came through a relay comes no more.
                _ = leads.wait_for(|leads| *leads) => {}
                () = self.once(&relayed) => {}
            }
        }
    }

    /// Looks who passes the stream on, and follows as long as that holds. Returns when it is time to look again.
    async fn once(&mut self, relayed: &Relayed) {
        self.config.term.mark_unchanged();
        let mut term = self.config.term.clone();
        let found = match self.find().await {
            Ok(Some(found)) => found,
            Ok(None) => {
                relayed.is_none();
                self.show();
                return changed(&mut term).await;
            }
            Err(error) => {
                tracing::debug!(%error, cause = ?error, "change_relay_unknown");
                relayed.is_away();
                self.show();
                return self.rest(&mut term).await;
            }
        };
        if found.protocol != PROTOCOL {
            self.say_protocol(found.protocol);
            relayed.is_away();
            self.show();
            return changed(&mut term).await;
        }
        let began = Instant::now();
        let database = Arc::clone(&self.config.database);
        let ended = tokio::select! {
            biased;
            // Somebody else reads, or the same one anew: what is heard here is not to be believed any more.
            () = changed_from(&mut term, found.term) => None,
            ended = hear(&database, &found, &self.feed, relayed, &mut self.resume) => ended.err(),
        };
        relayed.is_away();
        self.show();
        let Some(ended) = ended else { return };
        if !matches!(ended, Ended::Leads(_)) {
            metrics::relay_connection(&database, "lost");
            tracing::warn!(
                database = &*database, address = found.address, error = %ended, cause = ?ended,
                "change_relay_lost"
            );
        }
        if began.elapsed() > LASTED {
            self.pause = FIRST_PAUSE;
        }
        self.rest(&mut term).await;
    }

    /// Waits before the next attempt, unless there is something new.
    async fn rest(&mut self, term: &mut watch::Receiver<Option<i64>>) {
        tokio::select! {
            () = changed(term) => self.pause = FIRST_PAUSE,
            () = sleep(self.pause) => self.pause = (self.pause * 2).min(LONGEST_PAUSE),
        }
    }

    async fn find(&self) -> Result<Option<Found>, Unknown> {
        let sql = self.config.sql.of(
            "select r.term, r.protocol, r.address, r.secret, r.pin from rolegate.change_relay() r",
        );
        let client = self.config.pool.get().await?;
        let Some(row) = client.query_opt(&sql, &[]).await? else {
            return Ok(None);
        };
        let pin: &[u8] = row.try_get(4)?;
        Ok(Some(Found {
            term: row.try_get(0)?,
            protocol: row.try_get(1)?,
            address: row.try_get(2)?,
            secret: row.try_get(3)?,
            pin: pin.try_into().map_err(|_| Unknown::Key)?,
        }))
    }

    fn show(&self) {
        metrics::status(&self.config.database, self.feed.status());
    }

    fn say_protocol(&mut self, protocol: i32) {
        if self.said_protocol.replace(protocol) != Some(protocol) {
            tracing::warn!(
                database = &*self.config.database,
                theirs = protocol,
                ours = PROTOCOL,
                hint = "the process that reads is of another version; until they are the same nothing is kept here",
                "change_relay_protocol"
            );
        }
    }
}

/// There may be another relay.
async fn changed(term: &mut watch::Receiver<Option<i64>>) {
    if term.changed().await.is_err() {
        // Nobody looks any more: this process is about to end.
        std::future::pending::<()>().await;
    }
}

/// The same, with what is known already left out: the look that finds it may be later.
async fn changed_from(term: &mut watch::Receiver<Option<i64>>, known: i64) {
    loop {
        changed(term).await;
        if *term.borrow_and_update() != Some(known) {
            return;
        }
    }
}
