//! What the leader does beside reading: it writes down how far it is, and looks at the slot.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::StreamError;
use super::session::Session;
use crate::config::StreamConfig;
use crate::feed::Feed;
use crate::lsn::Lsn;
use crate::metrics;
use crate::status::Unready;

/// Between two looks, which also keep the session from being silent. What was read is written down as often.
const LOOK: Duration = Duration::from_secs(5);
/// What was written for those who wait has not come: after so long more is written.
const WAKE_AGAIN: Duration = Duration::from_secs(1);
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
    // Behind what was written last for those who wait, and when; and what somebody waits for behind that.
    let mut woken = (Lsn::default(), Instant::now());
    let mut wanted: Option<Lsn> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let look = session.look().await?;
                if !look.published {
                    return Err(Unready::NotPublished.into());
                }
                // Also while it is not followed: that may be why.
                let lag = feed.last().map_or(0, |(_, passed)| look.written.since(passed));
                feed.note_lag(lag);
                metrics::lag(&config.database, lag);
                if config.standby.is_none() {
                    metrics::slot(&config.database, look.retained, look.room);
                }
                store(session, feed, stored).await?;
            }
            lsn = feed.asked() => wanted = wanted.max(Some(lsn).filter(|lsn| *lsn > woken.0)),
            () = came(feed, woken), if wanted.is_some() => {
                let lsn = wanted.take();
                if feed.passed() < lsn {
                    woken = (session.wake().await?, Instant::now());
                }
            }
        }
    }
}

/// Returns when what was written has come, or should have. So one message at a time is on its way, also if nothing
/// comes at all.
async fn came(feed: &Feed, (lsn, at): (Lsn, Instant)) {
    let _ = timeout_at(at + WAKE_AGAIN, feed.comes_to(lsn)).await;
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
