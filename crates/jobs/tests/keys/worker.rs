//! The same through a worker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::for_each_version;

use crate::table::Table;

#[tokio::test]
async fn a_worker_keeps_order_and_limits_and_is_not_held_up() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        table.limits("concurrency => 4").await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let handlers = {
            let (seen, most) = (Arc::clone(&seen), Arc::clone(&most));
            Handlers::default().function("k", move |key: Option<String>, job| {
                let (seen, running, most) =
                    (Arc::clone(&seen), Arc::clone(&running), Arc::clone(&most));
                async move {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    seen.lock().unwrap().push((key, job.id));
                    running.fetch_sub(1, Ordering::SeqCst);
                    Outcome::Completed(None)
                }
            })
        };
        let config = WorkerConfig {
            concurrency: 16,
            ..WorkerConfig::default()
        };
        let sql = EngineSql::new("rolegate");
        let login = Login::peer("rolegate_worker");
        let endpoint = db.wire_endpoint();
        let worker = Worker::start(&endpoint, &login, &sql, handlers, config)
            .await
            .unwrap();
        for _ in 0..20 {
            for key in ["a", "b"] {
                let arguments = format!("'\"{key}\"', ordering_key => '{key}'");
                table.enqueue(&arguments).await;
            }
            table.enqueue("'null'").await;
        }
        for _ in 0..3000 {
            if seen.lock().unwrap().len() == 60 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        worker.stop().await;
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 60);
        for key in ["a", "b"] {
            let of_key = seen.iter().filter(|(k, _)| k.as_deref() == Some(key));
            let ids: Vec<i64> = of_key.map(|(_, id)| *id).collect();
            assert!(ids.is_sorted(), "{key}: {ids:?}");
        }
        let most = most.load(Ordering::SeqCst);
        assert!((2..=4).contains(&most), "{most} at a time");
        table.is_clear().await;
    })
    .await;
}

#[tokio::test]
async fn two_workers_keep_one_rate() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        table.limits("rate => 20, burst => 5").await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut workers = Vec::new();
        for number in 0..2 {
            let seen = Arc::clone(&seen);
            let handlers = Handlers::default().function("k", move |(): (), _| {
                seen.lock().unwrap().push((Instant::now(), number));
                async { Outcome::Completed(None) }
            });
            // So that neither takes all there is.
            let config = WorkerConfig {
                concurrency: 2,
                prefetch: 2,
                poll: Duration::from_millis(50),
                ..WorkerConfig::default()
            };
            let sql = EngineSql::new("rolegate");
            let login = Login::peer("rolegate_worker");
            let endpoint = db.wire_endpoint();
            let worker = Worker::start(&endpoint, &login, &sql, handlers, config);
            workers.push(worker.await.unwrap());
        }
        let sql = "select rolegate.enqueue_many('k', array_fill('null'::jsonb, array[65]))";
        table.run(sql).await;
        for _ in 0..1000 {
            if seen.lock().unwrap().len() == 65 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for worker in workers {
            assert!(worker.stop().await);
        }
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 65);
        for number in 0..2 {
            let some = seen.iter().filter(|(_, worker)| *worker == number).count();
            assert!(some > 5, "worker {number} ran {some}");
        }
        // Five at once, and sixty in three seconds; in a part of them, with what a claim is late.
        for from in [0, 20, 40] {
            let part = &seen[from..from + 25];
            let took = part[24].0 - part[0].0;
            assert!(took > Duration::from_millis(700), "20 in {took:?}");
        }
        let took = seen[64].0 - seen[0].0;
        assert!(took > Duration::from_millis(2800), "{took:?}");
        assert!(took < Duration::from_secs(6), "{took:?}");
    })
    .await;
}
