//! A worker whose connections can be cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::{Endpoint, Login, TlsMode};
use rolegate_testkit::{FaultProxy, TestDatabase};
use tokio::sync::Semaphore;

/// Worker, what it works by, and what it is woken by.
pub(crate) struct Faulty {
    pub(crate) worker: Worker,
    pub(crate) working: FaultProxy,
    pub(crate) waking: FaultProxy,
    /// Numbers of the jobs that ran, in order.
    pub(crate) ran: Arc<Mutex<Vec<i64>>>,
    /// Lets one job of the kind `waits` end for each permit.
    pub(crate) gate: Arc<Semaphore>,
}

/// A way to `db` that can be cut.
pub(crate) fn way(db: &TestDatabase) -> (FaultProxy, Endpoint) {
    let target = db.wire_endpoint();
    let proxy = FaultProxy::unix(target.address).unwrap();
    let endpoint = Endpoint {
        address: proxy.address(),
        tls: TlsMode::Disable,
        database: target.database,
    };
    (proxy, endpoint)
}

/// Works on `runs`, which write down that they ran, on `waits`, which wait at the gate, and on `brings`,
/// whose outcome is what the job says.
pub(crate) async fn start(db: &TestDatabase, config: WorkerConfig) -> Faulty {
    let (working, endpoint) = way(db);
    let (waking, direct) = way(db);
    let ran: Arc<Mutex<Vec<i64>>> = Arc::default();
    let gate = Arc::new(Semaphore::new(0));
    let (runs, waits, opens) = (Arc::clone(&ran), Arc::clone(&ran), Arc::clone(&gate));
    let handlers = Handlers::default()
        .function("runs", move |n: i64, _| {
            runs.lock().unwrap().push(n);
            async { Outcome::Completed(None) }
        })
        .function("waits", move |n: i64, _| {
            let opens = Arc::clone(&opens);
            waits.lock().unwrap().push(n);
            async move {
                opens.acquire().await.unwrap().forget();
                Outcome::Completed(None)
            }
        })
        .function("brings", |what: String, _| async move {
            super::refused::outcome(&what)
        });
    let config = WorkerConfig {
        direct: Some(direct),
        ..config
    };
    let sql = EngineSql::new("rolegate");
    let login = Login::peer("rolegate_worker");
    let worker = Worker::start(&endpoint, &login, &sql, handlers, config)
        .await
        .unwrap();
    Faulty {
        worker,
        working,
        waking,
        ran,
        gate,
    }
}

impl Faulty {
    pub(crate) fn ran(&self) -> Vec<i64> {
        self.ran.lock().unwrap().clone()
    }

    /// Waits until so many have run.
    pub(crate) async fn until_ran(&self, number: usize, patience: Duration) {
        let all = async {
            while self.ran.lock().unwrap().len() < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ran = tokio::time::timeout(patience, all).await;
        assert!(ran.is_ok(), "only {:?}", self.ran());
    }
}
