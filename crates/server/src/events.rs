//! Events from the database to many clients.
//!
//! One reader for each database reads what is new on all channels that have a subscriber and
//! gives it to them through a bounded buffer. A subscriber that falls behind is told and dropped;
//! the others do not wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rolegate_pg::listener;
use rolegate_pg::own::{OwnPool, OwnPoolError};
use rolegate_pg::wire::{Endpoint, Login};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseConfig;
use crate::stores::EngineSql;
use crate::streams::{Place, Streams};

/// Events a subscriber may be behind.
const BUFFER: usize = 1024;
/// Events read at a time.
const PAGE: i32 = 500;
/// Longest time between two reads while somebody subscribes: an event becomes readable when those
/// that were emitted before it are committed or gone, and the last of them may announce nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it stands; `Last-Event-ID` of a client that has seen it.
    pub cursor: Cursor,
    /// Its channel.
    pub channel: String,
    /// JSON text.
    pub payload: String,
}

/// A place in the order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// Reads the text form, a decimal number.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            text.parse().ok().map(Self)
        } else {
            None
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is at the two ends of the stored events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Resuming from here or later misses nothing.
    pub oldest: Cursor,
    /// Everything up to here is readable now.
    pub newest: Cursor,
}

/// Why events can't be read.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// No connection.
    #[error("no connection")]
    Connection(#[from] OwnPoolError),
    /// A statement failed.
    #[error("events can't be read")]
    Statement(#[from] tokio_postgres::Error),
    /// A cursor of the database that is none.
    #[error("unexpected event cursor")]
    Cursor,
}

/// The events of one database.
#[derive(Debug)]
pub struct EventHub {
    endpoint: Endpoint,
    login: Login,
    pool: OwnPool,
    sql: Arc<EngineSql>,
    heard: Arc<Notify>,
    sender: broadcast::Sender<Event>,
    wanted: Mutex<Wanted>,
    streams: Arc<Streams>,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Subscribers of each channel.
    channels: HashMap<String, usize>,
    /// Where somebody starts, if that was not read from yet.
    from: Option<Cursor>,
}

/// A subscription; ends when dropped.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<EventHub>,
    channels: Vec<String>,
    receiver: broadcast::Receiver<Event>,
    _place: Place,
}

impl EventHub {
    pub(crate) fn new(
        config: &DatabaseConfig,
        pool: OwnPool,
        sql: Arc<EngineSql>,
        streams: Arc<Streams>,
    ) -> Arc<Self> {
        Arc::new(Self {
            endpoint: config.direct_endpoint().clone(),
            login: config.gateway.clone(),
            pool,
            sql,
            heard: Arc::default(),
            sender: broadcast::Sender::new(BUFFER),
            wanted: Mutex::default(),
            streams,
        })
    }

    /// The check function of each of `channels` that is declared.
    pub async fn check_functions(
        &self,
        channels: &[String],
    ) -> Result<HashMap<String, String>, EventsError> {
        let client = self.pool.get().await?;
        let sql = self.sql.of(
            "select c.name, c.check_function from rolegate.channels() c where c.name = any ($1)",
        );
        let rows = client.query(&sql, &[&channels]).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// The ends of the stored events.
    pub async fn horizon(&self) -> Result<Horizon, EventsError> {
        let client = self.pool.get().await?;
        let sql = self
            .sql
            .of("select h.oldest, h.newest from rolegate.event_horizon() h");
        let row = client.query_one(&sql, &[]).await?;
        let cursor = |i: usize| -> Result<Cursor, EventsError> {
            Cursor::parse(row.try_get::<_, &str>(i)?).ok_or(EventsError::Cursor)
        };
        Ok(Horizon {
            oldest: cursor(0)?,
            newest: cursor(1)?,
        })
    }

    /// Events after `cursor`, at most a page.
    pub async fn read(
        &self,
        channels: &[String],
        cursor: Cursor,
    ) -> Result<Vec<Event>, EventsError> {
        let client = self.pool.get().await?;
        let sql = self
            .sql
            .of("select e.cursor, e.channel, e.payload from rolegate.read_events($1, $2, $3) e");
        let rows = client
            .query(&sql, &[&channels, &cursor.to_string(), &PAGE])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Event {
                    cursor: Cursor::parse(row.try_get(0)?).ok_or(EventsError::Cursor)?,
                    channel: row.try_get(1)?,
                    payload: row
                        .try_get::<_, Option<String>>(2)?
                        .unwrap_or_else(|| "null".to_owned()),
                })
            })
            .collect()
    }

    /// Subscribes, unless as many do as may.
    pub fn subscribe(self: &Arc<Self>, channels: Vec<String>, most: usize) -> Option<Subscription> {
        let place = self.streams.take(most)?;
        let mut wanted = self.wanted();
        for channel in &channels {
            *wanted.channels.entry(channel.clone()).or_default() += 1;
        }
        drop(wanted);
        let receiver = self.sender.subscribe();
        self.heard.notify_one();
        Some(Subscription {
            hub: Arc::clone(self),
            channels,
            receiver,
            _place: place,
        })
    }

    /// Listens and reads until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            listener::listen(
                &self.endpoint,
                &self.login,
                "rolegate_events",
                Arc::clone(&self.heard),
                stop.clone()
            ),
            self.read_on(&stop)
        );
    }

    async fn read_on(&self, stop: &CancellationToken) {
        let mut cursor = None;
        loop {
            let channels = self.wanted_channels();
            if channels.is_empty() {
                // Nobody is there: whoever comes next starts at what is newest then.
                cursor = None;
                tokio::select! {
                    () = self.heard.notified() => {}
                    () = stop.cancelled() => return,
                }
                if self.wanted_channels().is_empty() {
                    continue;
                }
            }
            match self.read_new(&mut cursor).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, cause = ?error, "events_not_read");
                }
            }
            tokio::select! {
                () = self.heard.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Reads one page and hands it out; whether there may be more.
    async fn read_new(&self, cursor: &mut Option<Cursor>) -> Result<bool, EventsError> {
        let channels = self.wanted_channels();
        let asked = self.wanted().from.take();
        let from = match cursor.iter().copied().chain(asked).min() {
            Some(cursor) => cursor,
            None => self.horizon().await?.newest,
        };
        *cursor = Some(from);
        let events = self.read(&channels, from).await?;
        let full = i32::try_from(events.len()) == Ok(PAGE);
        for event in events {
            *cursor = Some(event.cursor);
            // Nobody there any more is no error.
            let _ = self.sender.send(event);
        }
        Ok(full)
    }

    fn wanted_channels(&self) -> Vec<String> {
        self.wanted().channels.keys().cloned().collect()
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Makes sure that everything after `cursor` comes, even if the reader was further already
    /// when it heard of these channels. Others get a few events again.
    pub fn starts_at(&self, cursor: Cursor) {
        let mut wanted = self.hub.wanted();
        wanted.from = wanted.from.into_iter().chain([cursor]).min();
        drop(wanted);
        self.hub.heard.notify_one();
    }

    /// The next event of the subscribed channels. Cancel safe.
    pub async fn next(&mut self) -> Result<Event, broadcast::error::RecvError> {
        loop {
            let event = self.receiver.recv().await?;
            if self.channels.contains(&event.channel) {
                return Ok(event);
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut wanted = self.hub.wanted();
        for channel in &self.channels {
            if let Some(count) = wanted.channels.get_mut(channel) {
                *count -= 1;
                if *count == 0 {
                    wanted.channels.remove(channel);
                }
            }
        }
        if wanted.channels.is_empty() {
            wanted.from = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn cursors_are_decimal_numbers_in_their_order() {
        let cursor = |text| Cursor::parse(text).expect("a cursor");
        assert!(cursor("9") < cursor("10"));
        assert_eq!(
            cursor("18446744073709551615").to_string(),
            "18446744073709551615"
        );
        for bad in ["", "1.", "+1", "-1", "a", "18446744073709551616"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
