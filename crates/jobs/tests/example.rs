//! The worker in `examples` as a process of its own.
#![allow(clippy::unwrap_used)]

mod stage;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rolegate_testkit::for_each_version;
use serde_json::{Value, json};
use stage::{Stage, eventually, pause};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

/// Cargo makes examples together with tests, and puts them beside.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/worker");
    assert!(
        program.exists(),
        "cargo build -p rolegate-jobs --example worker"
    );
    program
}

fn start(stage: &Stage<'_>) -> Child {
    let cluster = stage.db.cluster();
    let url = format!(
        "postgresql:///{}?host={}&port={}",
        stage.db.name(),
        cluster.socket_dir.display(),
        cluster.port
    );
    Command::new(program())
        .arg(url)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn enqueue(producer: &Client, args: Value) -> i64 {
    let sql = "select rolegate.enqueue('count_words', $1::jsonb)";
    producer.query_one(sql, &[&args]).await.unwrap().get(0)
}

/// What its producer sees of it.
async fn seen(producer: &Client, job: i64, column: &str) -> Option<Value> {
    let sql = format!("select to_jsonb({column}) from rolegate.job($1)");
    producer.query_one(&sql, &[&job]).await.unwrap().get(0)
}

async fn until(producer: &Client, job: i64, column: &str, wanted: Value) {
    for _ in 0..1000 {
        if seen(producer, job, column).await.as_ref() == Some(&wanted) {
            return;
        }
        pause(10).await;
    }
    panic!(
        "{column} is {:?} and not {wanted}",
        seen(producer, job, column).await
    );
}

#[tokio::test]
async fn the_example_counts_and_ends_what_it_has_begun_when_it_is_stopped() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let producer = &stage.producer;
        let mut worker = start(&stage);

        let lines = json!({"lines": ["to be or", "not to be"]});
        let job = enqueue(producer, lines).await;
        until(producer, job, "state", json!("completed")).await;
        let output = seen(producer, job, "output").await;
        assert_eq!(output, Some(json!({"words": 6, "attempt": 1})));

        let unreadable = enqueue(producer, json!({"text": "to be"})).await;
        until(producer, unreadable, "state", json!("failed")).await;

        let slow = json!({"lines": ["one", "two three"], "milliseconds_per_line": 1500});
        let slow = enqueue(producer, slow).await;
        until(producer, slow, "progress ->> 'percent'", json!("50")).await;
        let pid = worker.id().unwrap().to_string();
        let sent = Command::new("kill").arg(&pid).status().await.unwrap();
        assert!(sent.success());
        let ended = tokio::time::timeout(Duration::from_secs(20), worker.wait());
        assert!(ended.await.expect("it stops").unwrap().success());
        until(producer, slow, "state", json!("completed")).await;
        let output = seen(producer, slow, "output").await;
        assert_eq!(output, Some(json!({"words": 3, "attempt": 1})));
        let gone = "select not exists (select from rolegate.job_worker)";
        eventually(&stage.superuser, gone).await;
    })
    .await;
}
