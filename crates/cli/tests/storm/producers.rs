//! Producers, each with transactions of its own, that start again after every error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::audit::Audit;
use crate::place::{Place, try_connect};

/// Of each transaction.
const BATCH: u64 = 20;
const PRODUCERS: u64 = 3;
/// Jobs that may wait before producers wait, too.
const BACKLOG: u64 = 1500;

pub(crate) struct Producers {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    jobs: u64,
    next: AtomicU64,
    /// Those whose commit was acknowledged.
    acknowledged: std::sync::Mutex<Vec<u64>>,
    /// Jobs that have ended, as far as is known.
    ended: AtomicU64,
}

impl Producers {
    pub(crate) fn start(place: &Place, jobs: u64) -> Self {
        let shared = Arc::new(Shared {
            jobs,
            next: AtomicU64::new(1),
            acknowledged: std::sync::Mutex::default(),
            ended: AtomicU64::new(0),
        });
        let tasks = (0..PRODUCERS)
            .map(|_| tokio::spawn(produce(place.db.config(&place.clerk), Arc::clone(&shared))))
            .collect();
        Self { shared, tasks }
    }

    /// So many have ended: others may come.
    pub(crate) fn note_ended(&self, ended: u64) {
        self.shared.ended.fetch_max(ended, Ordering::Relaxed);
    }

    /// What was acknowledged is there.
    pub(crate) async fn check(self, audit: &Audit) {
        for task in self.tasks {
            task.await.unwrap();
        }
        let acknowledged = self.shared.acknowledged.lock().unwrap();
        assert_eq!(u64::try_from(acknowledged.len()).unwrap(), self.shared.jobs);
        let lost: Vec<&u64> = acknowledged
            .iter()
            .filter(|n| !audit.sent.contains(n))
            .collect();
        assert!(lost.is_empty(), "committed and lost: {lost:?}");
        assert_eq!(audit.sent.len(), acknowledged.len());
    }
}

async fn produce(config: tokio_postgres::Config, shared: Arc<Shared>) {
    let mut client = None;
    loop {
        let waiting = shared.next.load(Ordering::Relaxed) - 1;
        if waiting.saturating_sub(shared.ended.load(Ordering::Relaxed)) > BACKLOG {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let first = shared.next.fetch_add(BATCH, Ordering::Relaxed);
        if first > shared.jobs {
            return;
        }
        let count = BATCH.min(shared.jobs + 1 - first);
        // The same again until it is there: a primary key says whether a lost answer meant a commit.
        loop {
            if client.is_none() {
                client = try_connect(&config).await;
            }
            let Some(connected) = &client else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let sql = "select public.send($1, $2)";
            let from = i64::try_from(first).unwrap();
            match connected
                .execute(sql, &[&from, &i32::try_from(count).unwrap()])
                .await
            {
                Ok(_) => break,
                Err(error)
                    if error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION) =>
                {
                    break;
                }
                Err(_) => client = None,
            }
        }
        let mut acknowledged = shared.acknowledged.lock().unwrap();
        acknowledged.extend(first..first + count);
    }
}
