//! What the leader does beside reading: it writes down how far it is, and looks at the slot.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::StreamError;
use super::session::Session;
use crate::config::StreamConfig;
use crate::feed::Feed;
use crate::lsn::Lsn;
use crate::metrics;
use crate::status::Unready;

/// Between two looks, which also keep the session from being silent. What was read is written down as often.
const LOOK: Duration = Duration::from_secs(5);
/// So much of what nobody is told about may come before the position is written down.
const UNTOLD_BYTES: u64 = 16 * 1024 * 1024;

/// Looks, and writes the position down when there is a new one.
pub(super) async fn keep(
    config: &StreamConfig,
    session: &Session,
    feed: &Feed,
    stored: &watch::Sender<Lsn>,
) -> Result<Infallible, StreamError> {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let look = session.look().await?;
                if !look.published {
                    return Err(Unready::NotPublished.into());
                }
                let passed = feed.passed();
                let lag = passed.map_or(0, |passed| look.written.since(passed));
                feed.note_lag(lag);
                metrics::slot(&config.database, lag, look.retained, look.room);
                store(session, feed, stored).await?;
            }
            _ = feed.asked() => session.wake().await?,
        }
    }
}

/// Writes the position down, if it is worth it: there were commits, or much of anything else. What the position
/// itself makes the server write is neither, so what is idle writes nothing.
pub(super) async fn store(
    session: &Session,
    feed: &Feed,
    stored: &watch::Sender<Lsn>,
) -> Result<(), StreamError> {
    let Some((passed, told)) = feed.to_store() else {
        return Ok(());
    };
    let before = *stored.borrow();
    // Who has not begun yet has nothing to write down.
    if before == Lsn::default() {
        return Ok(());
    }
    if told > before || passed.since(before) > UNTOLD_BYTES {
        session.note_position(passed).await?;
        stored.send_replace(passed);
    }
    Ok(())
}
