//! Many clients that call one function, each time with an id of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::{Client, Outcome};

/// Clients of one load.
pub(crate) const CLIENTS: usize = 64;

/// How long a client may wait for what becomes of a request: more than the server's own bounds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A load that runs.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: JoinSet<BTreeMap<String, Outcome>>,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(gateway: SocketAddr, token: &str, name: &str) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            clients: JoinSet::new(),
        };
        let head = format!(
            "POST /api/app/note HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n"
        );
        for number in 0..CLIENTS {
            let (stop, answered) = (Arc::clone(&load.stop), Arc::clone(&load.answered));
            let (head, name) = (head.clone(), format!("{name}-{number}"));
            load.clients.spawn(async move {
                let mut client = Client::new(gateway);
                let mut outcomes = BTreeMap::new();
                while !stop.load(Ordering::Acquire) {
                    let id = format!("{name}-{}", outcomes.len());
                    let body = format!("{{\"id\": \"{id}\"}}");
                    let outcome = tokio::time::timeout(PATIENCE, client.send(&head, &body)).await;
                    let outcome = outcome.unwrap_or_else(|_| panic!("{id}: nothing happened"));
                    match &outcome {
                        Outcome::Answer { status: 200, .. } => {
                            answered.fetch_add(1, Ordering::AcqRel);
                        }
                        // Who gets no result does not come back at once.
                        _ => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                    outcomes.insert(id, outcome);
                }
                outcomes
            });
        }
        load
    }

    /// Waits until `more` further calls have succeeded.
    pub(crate) async fn succeeds(&self, more: u64) {
        let from = self.answered.load(Ordering::Acquire);
        let enough = async {
            while self.answered.load(Ordering::Acquire) < from + more {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, enough).await;
        waited.unwrap_or_else(|_| panic!("calls don't succeed"));
    }

    /// Calls that succeeded so far.
    pub(crate) fn successes(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }

    /// Ends the clients; what became of each request, by its id.
    pub(crate) async fn end(self) -> BTreeMap<String, Outcome> {
        self.stop.store(true, Ordering::Release);
        self.clients
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Checks that the function ran as often as the answers say, and counts the outcomes by status;
/// 0 is a connection that was closed or refused.
pub(crate) fn check(
    outcomes: &BTreeMap<String, Outcome>,
    runs: &BTreeMap<String, i64>,
) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for (id, outcome) in outcomes {
        let ran = runs.get(id).copied().unwrap_or(0);
        let status = match outcome {
            Outcome::Answer { status: 200, .. } => {
                assert_eq!(ran, 1, "{id} succeeded");
                200
            }
            Outcome::Answer { status, body } => {
                assert!(ran <= 1, "{id} ran {ran} times: {body}");
                // Only a call that was under way can have run, and its answer says so.
                if !body.contains("may have been committed") {
                    assert_eq!(ran, 0, "{id}: {body}");
                }
                *status
            }
            // Whoever gets nothing may send it again.
            Outcome::Closed | Outcome::Refused => {
                assert_eq!(ran, 0, "{id} ran and nobody said so");
                0
            }
            Outcome::Cut(part) => panic!("{id} got part of an answer: {part}"),
        };
        *counts.entry(status).or_default() += 1;
    }
    for id in runs.keys() {
        assert!(outcomes.contains_key(id), "nobody asked for {id}");
    }
    counts
}
