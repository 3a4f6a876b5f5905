//! Hosts that are slow, or down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rolegate_outbound::GateConfig;
use rolegate_server::http_jobs::Mode;
use rolegate_testkit::{Asked, HttpEndpoint, Reply, for_each_version};
use serde_json::json;

use super::stage::{Stage, kind};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_host_gets_so_many_requests_at_once_and_holds_up_nobody_else() {
    for_each_version(async |db| {
        let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let counted = Arc::clone(&running);
        let slow = HttpEndpoint::start(move |_: Asked| {
            let running = Arc::clone(&counted);
            async move {
                let now = running.0.fetch_add(1, Ordering::SeqCst) + 1;
                running.1.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
                running.0.fetch_sub(1, Ordering::SeqCst);
                Reply::of(200, "")
            }
        });
        let slow = slow.await.unwrap();
        let quick = HttpEndpoint::always(Reply::of(200, "")).await.unwrap();
        let kinds = vec![
            kind("slow", &slow, Mode::Sync),
            // Of the same host.
            kind("too", &slow, Mode::Sync),
            kind("quick", &quick, Mode::Sync),
        ];
        let gate = GateConfig {
            parallel: 2,
            wait: Duration::from_millis(100),
            ..GateConfig::default()
        };
        let stage = Stage::with(db, kinds, gate).await;
        // More than the worker has slots, all before the quick one.
        let mut jobs = Vec::new();
        for nth in 0..20 {
            let kind = ["slow", "too"][nth % 2];
            jobs.push(stage.enqueue(kind, &json!({})).await);
        }
        let last = stage.enqueue("quick", &json!({})).await;
        stage.becomes(last, "completed").await;
        let left = running.0.load(Ordering::SeqCst) + 20 - slow.asked().len();
        assert!(left > 5, "it did not wait for the slow ones");
        for job in jobs {
            let job = stage.becomes(job, "completed").await;
            assert_eq!(job["attempt"], 1, "being put off is no attempt: {job}");
        }
        assert_eq!(running.1.load(Ordering::SeqCst), 2);
        assert_eq!(slow.asked().len(), 20, "each was sent once");
        stage.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_left_alone_and_no_attempt_is_counted() {
    for_each_version(async |db| {
        let up = Arc::new(AtomicBool::new(false));
        let is_up = Arc::clone(&up);
        let endpoint = HttpEndpoint::start(move |_: Asked| {
            let status = if is_up.load(Ordering::SeqCst) {
                200
            } else {
                502
            };
            async move { Reply::of(status, "") }
        });
        let endpoint = endpoint.await.unwrap();
        let gate = GateConfig {
            failures: 2,
            open: Duration::from_millis(500),
            longest: Duration::from_secs(1),
            ..GateConfig::default()
        };
        let stage = Stage::with(db, vec![kind("f", &endpoint, Mode::Sync)], gate).await;
        for nth in 0..2 {
            let job = stage.enqueue("f", &json!({ "first": nth })).await;
            stage.becomes(job, "retryable").await;
        }
        let mut jobs = Vec::new();
        for nth in 0..6 {
            jobs.push(stage.enqueue("f", &json!({ "n": nth })).await);
        }
        for job in &jobs {
            let job = stage
                .becomes_one_of(*job, &["scheduled", "retryable"])
                .await;
            assert!(job["attempt"].as_i64().unwrap() <= 1, "{job}");
        }
        // One at a time tries: not many.
        let asked = endpoint.asked().len();
        assert!((2..=5).contains(&asked), "{asked}");
        up.store(true, Ordering::SeqCst);
        let mut attempts = 0;
        for job in jobs {
            let job = stage.becomes(job, "completed").await;
            attempts += job["attempt"].as_i64().unwrap();
        }
        assert!(attempts <= 6 + 3, "{attempts}: only those that tried count");
        stage.end().await;
    })
    .await;
}

/// A job that is cancelled is not waited for, and the connection is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_gives_its_place_back() {
    for_each_version(async |db| {
        let endpoint = HttpEndpoint::start(async |asked: Asked| {
            if String::from_utf8_lossy(&asked.body).contains("hangs") {
                return Reply::Silence;
            }
            Reply::of(200, "")
        });
        let endpoint = endpoint.await.unwrap();
        let mut kind = kind("f", &endpoint, Mode::Sync);
        kind.timeout = Duration::from_mins(5);
        let gate = GateConfig {
            parallel: 1,
            wait: Duration::from_secs(30),
            // It is not the host that failed.
            failures: 1,
            open: Duration::from_hours(1),
            longest: Duration::from_hours(1),
        };
        let stage = Stage::with(db, vec![kind], gate).await;
        let hanging = stage.enqueue("f", &json!("hangs")).await;
        stage.becomes(hanging, "running").await;
        while endpoint.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let next = stage.enqueue("f", &json!({})).await;
        let sql = "select rolegate.cancel($1)";
        stage.producer.query_one(sql, &[&hanging]).await.unwrap();
        stage.becomes(next, "completed").await;
        assert_eq!(stage.job(hanging).await["state"], "cancelled");
        stage.end().await;
    })
    .await;
}
