//! Reading the stream: one process at a time, by a lock of its session.
//!
//! The leader's session is a plain one of the replicator. It holds the lock, says up to where was read, and
//! looks at the slot; the server ends it when it is silent for a quarter of a minute. The stream
//! itself is a second connection, which the server ends in the same time. A leader that hangs loses both. Where a
//! standby decodes, that second connection leads there, and a third one asks it whether it still is one.

mod begin;
mod error;
mod server;
mod session;
mod standby;
mod stream;
mod told;
mod upkeep;

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::StreamConfig;
use crate::feed::{Feed, Leading};
use crate::lsn::Lsn;
use crate::metrics;
use crate::status::{Status, Unready};
use begin::Beginning;
use session::Session;

pub use error::StreamError;

/// Between two attempts to lead. To wait inside the database would hold a snapshot.
const STAND_BY: Duration = Duration::from_secs(2);
/// Between two connections of a leader.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After a connection that lasted so long the pauses begin again.
const LASTED: Duration = Duration::from_secs(30);
/// To write down the position at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often the same place may be met in vain before there is a new slot.
const ATTEMPTS: u32 = 4;

/// What outlives a connection.
#[derive(Debug, Default)]
struct Memory {
    /// The term in which this process read last.
    term: Option<i64>,
    /// What failed at the same place.
    stuck: Option<(Lsn, u32)>,
    said: Option<Unready>,
}

/// Stands by, reads when nobody else does, and feeds `feed`; until `stop`.
pub async fn run(config: StreamConfig, feed: Feed, stop: CancellationToken) {
    metrics::describe();
    let mut memory = Memory::default();
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let Some(error) = lead(&config, &feed, &mut memory, &stop).await else {
            break;
        };
        stand(&config, &feed, after(&feed, &error));
        memory.say(&config, &error);
        pause = if began.elapsed() > LASTED {
            FIRST_PAUSE
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
        }
    }
    stand(&config, &feed, Status::Idle);
}

fn stand(config: &StreamConfig, feed: &Feed, status: Status) {
    feed.stand(status);
    metrics::status(&config.database, feed.status());
}

/// How a process stands after an error.
fn after(feed: &Feed, error: &StreamError) -> Status {
    match error {
        StreamError::Unready(what) => Status::Unready(*what),
        _ if feed.own_status() == Status::Following => Status::Interrupted,
        _ => match feed.own_status() {
            Status::Unready(_) | Status::Idle => Status::Starting,
            other => other,
        },
    }
}

/// Leads until something breaks; `None` after `stop`.
async fn lead(
    config: &StreamConfig,
    feed: &Feed,
    memory: &mut Memory,
    stop: &CancellationToken,
) -> Option<StreamError> {
    let (session, _leading) = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        leads = become_leader(config, feed) => match leads {
            Ok(leads) => leads,
            Err(error) => return Some(error),
        },
    };
    // Up to where what was read is written down; 0 before it has begun.
    let stored = watch::Sender::new(Lsn::default());
    let error = {
        let work = async {
            // One task: when one of them ends, so does the other.
            tokio::try_join!(
                upkeep::keep(config, &session, feed, &stored),
                follow(config, &session, feed, memory, &stored),
            )
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ended = work => ended.err(),
        }
    };
    if error.is_none() {
        // Otherwise the next reader reads some seconds again.
        let _ = timeout(LAST_WORDS, upkeep::store(&session, feed, &stored)).await;
    }
    error
}

async fn become_leader(
    config: &StreamConfig,
    feed: &Feed,
) -> Result<(Session, Leading), StreamError> {
    let session = Session::open(config).await?;
    if session.is_on_standby().await? {
        return Err(Unready::Standby.into());
    }
    if !session.is_migrated().await? {
        return Err(Unready::NotMigrated.into());
    }
    while !session.lead().await? {
        stand(config, feed, Status::StandingBy);
        sleep(STAND_BY).await;
    }
    let leading = feed.lead();
    session.check_published().await?;
    if feed.own_status() != Status::Interrupted {
        stand(config, feed, Status::Starting);
    }
    tracing::info!(
        database = &*config.database,
        name = config.name,
        "change_stream_leads"
    );
    Ok((session, leading))
}

/// Follows, and connects again as long as the session holds the lock.
async fn follow(
    config: &StreamConfig,
    session: &Session,
    feed: &Feed,
    memory: &mut Memory,
    stored: &watch::Sender<Lsn>,
) -> Result<Infallible, StreamError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let error = match once(config, session, feed, memory, stored).await {
            Ok(never) => match never {},
            Err(error @ StreamError::Unready(_)) => return Err(error),
            Err(error) => error,
        };
        if feed.status() == Status::Following {
            metrics::interruption(&config.database);
            stand(config, feed, Status::Interrupted);
        }
        tracing::warn!(
            database = &*config.database, %error, cause = ?error, "change_stream_interrupted"
        );
        memory.note(feed, &error);
        if began.elapsed() > LASTED {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn once(
    config: &StreamConfig,
    session: &Session,
    feed: &Feed,
    memory: &mut Memory,
    stored: &watch::Sender<Lsn>,
) -> Result<Infallible, StreamError> {
    let Beginning { stream, watch } = begin::begin(config, session, feed, memory, stored).await?;
    let reading = async {
        let Some(watch) = watch else {
            return stream.follow(None, config, feed).await;
        };
        let (through, came) = mpsc::channel(standby::HELD);
        let (never, ..) = tokio::try_join!(
            stream.follow(Some(through), config, feed),
            watch.pass_on(came, config, feed),
            standby::fall_behind(session, feed),
        )?;
        match never {}
    };
    tokio::select! {
        ended = reading => ended,
        failed = pass_on(config, session, feed) => failed,
    }
}

/// Offers it to other processes as long as it is followed, and not longer.
async fn pass_on(
    config: &StreamConfig,
    session: &Session,
    feed: &Feed,
) -> Result<Infallible, StreamError> {
    let Some(relay) = &config.relay else {
        return std::future::pending().await;
    };
    feed.is_read().await;
    let offer = relay.offer(&config.database, feed)?;
    session.offer_relay(&offer).await?;
    Ok(offer.pass_on_questions().await)
}

impl Memory {
    /// Notes an error that the same place may give again.
    fn note(&mut self, feed: &Feed, error: &StreamError) {
        let at = feed.last().map(|(_, passed)| passed).unwrap_or_default();
        self.stuck = match self.stuck {
            _ if error.is_away() => None,
            Some((place, number)) if place == at => Some((at, number + 1)),
            _ => Some((at, 1)),
        };
    }

    /// Whether it makes no sense to go on from here.
    fn is_stuck(&self) -> bool {
        self.stuck.is_some_and(|(_, number)| number >= ATTEMPTS)
    }

    /// Says why there is no stream; what somebody has to do is said once.
    fn say(&mut self, config: &StreamConfig, error: &StreamError) {
        let database = &*config.database;
        match error {
            StreamError::Unready(what) => {
                if self.said.replace(*what) != Some(*what) {
                    tracing::warn!(database, reason = %what, "change_stream_unready");
                }
            }
            error => {
                self.said = None;
                tracing::warn!(database, %error, cause = ?error, "change_stream_lost");
            }
        }
    }
}
