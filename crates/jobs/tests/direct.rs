//! A worker behind a pooler works there and is woken past it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rolegate_jobs::{Handlers, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::{Endpoint, Login, TlsMode};
use rolegate_testkit::{FaultProxy, TestDatabase, for_each_version};

/// A way to `db` that counts what goes by it.
fn way(db: &TestDatabase) -> (FaultProxy, Endpoint) {
    let target = db.wire_endpoint();
    let proxy = FaultProxy::unix(target.address).unwrap();
    let endpoint = Endpoint {
        address: proxy.address(),
        tls: TlsMode::Disable,
        database: target.database,
    };
    (proxy, endpoint)
}

#[tokio::test]
async fn a_worker_waits_to_be_woken_past_the_pooler() {
    for_each_version(async |db| {
        let (pooler, endpoint) = way(db);
        let (past_it, direct) = way(db);
        let config = WorkerConfig {
            direct: Some(direct),
            ..WorkerConfig::default()
        };
        let sql = EngineSql::new("rolegate");
        let login = Login::peer("rolegate_worker");
        let worker = Worker::start(&endpoint, &login, &sql, Handlers::default(), config)
            .await
            .unwrap();
        let superuser = db.superuser().await;
        let waits = "select exists (select from pg_stat_activity \
            where datname = current_database() and application_name = 'rolegate worker')";
        let waits = async || -> bool { superuser.query_one(waits, &[]).await.unwrap().get(0) };
        let until = async |wanted: bool| {
            for _ in 0..500 {
                if waits().await == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("never {wanted}");
        };
        until(true).await;
        assert!(pooler.connections() > 0, "it works there");
        assert_eq!(past_it.connections(), 1);
        past_it.refuse_new(true).await.unwrap();
        past_it.cut_all().await;
        until(false).await;
        past_it.refuse_new(false).await.unwrap();
        until(true).await;
        worker.stop().await;
    })
    .await;
}
