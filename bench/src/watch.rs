//! Many event streams at once, and when each of them was told of a change.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use memchr::memmem;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// Who connects at the same time.
const OPENING: usize = 64;
/// How long all of them may take to have their rows.
const PATIENCE: Duration = Duration::from_mins(3);
/// Longest latency that is told apart, in microseconds.
const LONGEST: u64 = 120_000_000;
/// An event is no larger; more is an error.
const MAX_EVENT: usize = 1 << 20;

/// What to watch.
#[derive(Debug)]
pub struct Plan {
    /// Where.
    pub address: SocketAddr,
    /// Path with the query, in which `{}` is the number of the group.
    pub path: String,
    /// Streams.
    pub streams: usize,
    /// Different queries.
    pub groups: usize,
    /// For how long, from the moment on when all have their rows.
    pub duration: Duration,
}

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Streams that had their rows.
    pub streams: usize,
    /// Changes that arrived, at all of them together.
    pub events: u64,
    /// Changes that arrived at every stream.
    pub complete: usize,
    /// Changes that arrived at some.
    pub partial: usize,
    /// From the row's own time until it was read, in microseconds: of all events.
    pub p50: u64,
    /// The same.
    pub p99: u64,
    /// Of each change: until the last stream had it; the median.
    pub last_p50: u64,
    /// The longest.
    pub last_max: u64,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
}

struct Seen {
    streams: usize,
    latencies: Histogram<u64>,
    /// By the time in the row: how many have it, and how long the last one took.
    changes: BTreeMap<u64, (usize, u64)>,
    errors: BTreeMap<String, u64>,
}

impl Seen {
    fn broke(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }

    fn change(&mut self, sent: u64, now: u64) {
        let latency = now.saturating_sub(sent).min(LONGEST);
        // It is within the histogram's bounds.
        self.latencies.saturating_record(latency);
        let (number, last) = self.changes.entry(sent).or_default();
        *number += 1;
        *last = (*last).max(latency);
    }
}

/// Opens all streams, calls `ready`, and watches. On one thread: it shares the cores with what it measures.
pub async fn run(plan: Plan, ready: impl FnOnce()) -> io::Result<Summary> {
    let latencies = Histogram::new_with_max(LONGEST, 3).map_err(io::Error::other)?;
    let seen = Rc::new(RefCell::new(Seen {
        streams: 0,
        latencies,
        changes: BTreeMap::new(),
        errors: BTreeMap::new(),
    }));
    let opening = Rc::new(Semaphore::new(OPENING));
    let tasks = LocalSet::new();
    for number in 0..plan.streams {
        let path = plan.path.replace("{}", &(number % plan.groups).to_string());
        let (seen, opening, address) = (Rc::clone(&seen), Rc::clone(&opening), plan.address);
        tasks.spawn_local(async move {
            if let Err(error) = watch(address, &path, &seen, &opening).await {
                seen.borrow_mut().broke(error.to_string());
            }
        });
    }
    let streams = plan.streams;
    tasks
        .run_until(async {
            let all = async {
                while seen.borrow().streams < streams && seen.borrow().errors.is_empty() {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            if timeout(PATIENCE, all).await.is_err() {
                seen.borrow_mut()
                    .broke("not all had their rows in time".to_owned());
            }
            ready();
            sleep(plan.duration).await;
        })
        .await;
    let seen = seen.borrow();
    let mut last: Vec<u64> = seen.changes.values().map(|(_, last)| *last).collect();
    last.sort_unstable();
    let complete = seen
        .changes
        .values()
        .filter(|(number, _)| *number == streams)
        .count();
    Ok(Summary {
        streams: seen.streams,
        events: seen.latencies.len(),
        complete,
        partial: seen.changes.len() - complete,
        p50: seen.latencies.value_at_quantile(0.5),
        p99: seen.latencies.value_at_quantile(0.99),
        last_p50: last.get(last.len() / 2).copied().unwrap_or(0),
        last_max: last.last().copied().unwrap_or(0),
        errors: seen.errors.clone(),
    })
}

async fn watch(
    address: SocketAddr,
    path: &str,
    seen: &RefCell<Seen>,
    opening: &Semaphore,
) -> io::Result<()> {
    let turn = opening.acquire().await.map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut turn = Some(turn);
    let mut buffer = Vec::with_capacity(1024);
    let mut has_head = false;
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::Error::other("the stream ended"));
        }
        let now = now();
        if !has_head {
            let Some(end) = memmem::find(&buffer, b"\r\n\r\n") else {
                continue;
            };
            if !buffer.starts_with(b"HTTP/1.1 200 ") {
                let line = buffer
                    .split(|byte| *byte == b'\r')
                    .next()
                    .unwrap_or_default();
                return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
            }
            buffer.drain(..end + 4);
            has_head = true;
        }
        // Events end with an empty line; sizes of chunks stand between them and are no data.
        while let Some(end) = memmem::find(&buffer, b"\n\n") {
            let event = &buffer[..end];
            if let Some(at) = memmem::find(event, b"\"op\":\"update\"") {
                match sent(&event[at..]) {
                    Some(sent) => seen.borrow_mut().change(sent, now),
                    None => seen
                        .borrow_mut()
                        .broke("an update without its time".to_owned()),
                }
            } else if memmem::find(event, b"\"type\":\"snapshot\"").is_some()
                && turn.take().is_some()
            {
                seen.borrow_mut().streams += 1;
            } else if memmem::find(event, b"event: error").is_some()
                || memmem::find(event, b"event: reset").is_some()
            {
                let said = String::from_utf8_lossy(event).into_owned();
                seen.borrow_mut().broke(said);
            }
            buffer.drain(..end + 2);
        }
        if buffer.len() > MAX_EVENT {
            return Err(io::Error::other("an event without an end"));
        }
    }
}

/// The time that the row has in it, in microseconds since 1970.
fn sent(event: &[u8]) -> Option<u64> {
    let at = memmem::find(event, b"\"sent\":")? + 7;
    let digits = event[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let text: Vec<u8> = digits.copied().collect();
    std::str::from_utf8(&text).ok()?.parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the database's clock is the same one"
)]
fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
