//! A worker with functions, a producer, and somebody who does the upkeep.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use rolegate_jobs::maintenance::{self, Connect, MaintenanceConfig};
use rolegate_jobs::{Handlers, Worker, WorkerConfig};
use rolegate_model::SystemClock;
use rolegate_outbound::{Client, GateConfig, Guard, Target};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_server::http_jobs::{CallBack, HttpKind, HttpKinds, Mode};
use rolegate_testkit::{HttpEndpoint, TestDatabase};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::harness::{PREFIX, Receiver, current};

pub(super) struct Stage {
    pub(super) producer: tokio_postgres::Client,
    worker: Worker,
    stop: CancellationToken,
}

/// Where tests may go.
pub(super) fn loopback() -> Guard {
    Guard::new(["127.0.0.0/8"]).unwrap()
}

/// A kind that is sent to this endpoint.
pub(super) fn kind(name: &str, endpoint: &HttpEndpoint, mode: Mode) -> HttpKind {
    let url = endpoint.url(&format!("/{name}?key=hunter2"));
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("a"));
    HttpKind {
        kind: name.to_owned(),
        target: Target::new(&url, &loopback()).unwrap(),
        mode,
        timeout: Duration::from_millis(800),
        headers,
        key: Some(current()),
        max_request: 4096,
        max_answer: 1024,
    }
}

/// Answers go to this receiver.
pub(super) fn calls(receiver: &Receiver) -> CallBack {
    CallBack {
        base_url: format!("http://{}", receiver.address),
        prefix: PREFIX.to_owned(),
        timeout: Duration::from_hours(1),
        resumable: false,
        rules: None,
        legacy_signature: false,
    }
}

impl Stage {
    pub(super) async fn new(db: &TestDatabase, kinds: Vec<HttpKind>) -> Self {
        Self::with(db, kinds, GateConfig::default()).await
    }

    pub(super) async fn with(db: &TestDatabase, kinds: Vec<HttpKind>, gate: GateConfig) -> Self {
        let role = db.create_role("producer").await;
        let grant = format!("grant rolegate_producer to {role}");
        db.superuser().await.batch_execute(&grant).await.unwrap();
        let client = Client::new(&loopback()).unwrap();
        let kinds = HttpKinds::new(kinds, client, gate, Arc::new(SystemClock));
        let worker = Worker::start(
            &db.wire_endpoint(),
            &Login::peer("rolegate_worker"),
            &EngineSql::new("rolegate"),
            kinds.register(Handlers::default(), "app"),
            WorkerConfig::default(),
        )
        .await;
        let connect = Connect {
            endpoint: db.wire_endpoint(),
            login: Login::peer("rolegate_maintenance"),
        };
        let upkeep = MaintenanceConfig::new(db.name(), connect, EngineSql::new("rolegate"));
        let stop = CancellationToken::new();
        tokio::spawn(maintenance::run(upkeep, stop.clone()));
        Self {
            producer: db.connect_as(&role).await,
            worker: worker.unwrap(),
            stop,
        }
    }

    pub(super) async fn enqueue(&self, kind: &str, args: &Value) -> i64 {
        let sql = "select rolegate.enqueue($1, $2, max_attempts => 3)";
        let row = self.producer.query_one(sql, &[&kind, args]).await.unwrap();
        row.get(0)
    }

    /// The job as its producer sees it.
    pub(super) async fn job(&self, id: i64) -> Value {
        let sql = "select to_jsonb(j) || jsonb_build_object( \
            'wait', extract(epoch from j.run_at - clock_timestamp())) from rolegate.job($1) j";
        self.producer.query_one(sql, &[&id]).await.unwrap().get(0)
    }

    /// The job as soon as it is in this state.
    pub(super) async fn becomes(&self, id: i64, state: &str) -> Value {
        self.becomes_one_of(id, &[state]).await
    }

    /// The same, of several.
    pub(super) async fn becomes_one_of(&self, id: i64, states: &[&str]) -> Value {
        let mut job = Value::Null;
        for _ in 0..1500 {
            job = self.job(id).await;
            if states.iter().any(|state| job["state"] == *state) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not {states:?}: {job}");
    }

    /// The job as soon as an attempt has failed; it may be tried again by then.
    pub(super) async fn failed_once(&self, id: i64) -> Value {
        let mut job = Value::Null;
        for _ in 0..1500 {
            job = self.job(id).await;
            if job["errors"][0]["attempt"] == 1 {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not fail: {job}");
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        assert!(self.worker.stop().await);
    }
}
