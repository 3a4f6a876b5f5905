//! What is kept and watched where a standby decodes what is committed.

use std::collections::HashMap;
use std::time::Duration;

use rolegate_testkit::Version;
use rolegate_testkit::own_server::OwnServer;
use rolegate_testkit::standby::Standby;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::live::stage::{LONG, Stage};
use crate::harness::Options;

const SQL: &str = "select id, name from open order by id";

/// The first name, and where the answer is kept, if it is.
async fn ask(stage: &Stage, since: Option<&str>) -> (String, Option<String>) {
    let url = format!("http://{}/query", stage.gateway.address);
    let post = stage.gateway.client.post(url);
    let mut post = post
        .header("content-type", "application/json")
        .header("prefer", "return=representation")
        .body(json!({"sql": SQL}).to_string());
    if let Some(lsn) = since {
        post = post.header("rolegate-min-lsn", lsn);
    }
    let answer = post.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let place = answer.headers().get("content-location");
    let place = place.map(|place| place.to_str().expect("text").to_owned());
    let rows: Value = answer.json().await.expect("JSON");
    let name = rows[0]["name"].as_str().expect("a name").to_owned();
    (name, place)
}

/// Asks until the answer has this name, and is kept or not.
async fn until(stage: &Stage, name: &str, kept: bool, bodies: &mut HashMap<String, String>) {
    let asked = async {
        loop {
            let (now, place) = ask(stage, None).await;
            let is_kept = place.is_some();
            if let Some(place) = place {
                assert_eq!(bodies.entry(place).or_insert_with(|| now.clone()), &now);
            }
            if now == name && is_kept == kept {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let came = timeout(LONG, asked).await;
    assert!(came.is_ok(), "never {name}, kept: {kept}");
}

#[tokio::test]
async fn nothing_stale_is_kept_and_who_watches_is_told() {
    let mut server = OwnServer::new(Version::Pg18).await;
    let directory = server.directory().to_owned();
    let standby = Standby::trailing(&mut server, &directory).await;
    standby.set("hot_standby_feedback", "on").await;
    let options = Options {
        standby: Some(standby.own_endpoint(&server)),
        ..Options::default()
    };
    let stage = Stage::set_with(&server.db, options).await;
    let mut watcher = stage.watch(None, "select id, name from open").await;
    watcher.expect("snapshot").await;
    let mut bodies = HashMap::new();
    for n in 0..20 {
        let name = format!("name {n}");
        let update = format!("update api.open set name = '{name}' where id = 1");
        let txid = stage.write(&update).await;
        let lsn = "select pg_current_wal_insert_lsn()::text";
        let lsn = stage.superuser.query_one(lsn, &[]).await.expect("a row");
        assert_eq!(ask(&stage, Some(lsn.get(0))).await.0, name);
        watcher.sees(txid).await;
        let all = stage.rows("select id, name from api.open").await;
        assert_eq!(watcher.by_id(), all);
        until(&stage, &name, true, &mut bodies).await;
    }

    // Nothing comes, and nothing breaks: what is kept grows old, until it is not given out any more.
    let there = standby.superuser("postgres").await;
    let pause = "select pg_wal_replay_pause()";
    there.batch_execute(pause).await.expect(pause);
    stage
        .write("update api.open set name = 'unseen' where id = 1")
        .await;
    until(&stage, "unseen", false, &mut bodies).await;
    for _ in 0..10 {
        assert_eq!(ask(&stage, None).await, ("unseen".to_owned(), None));
    }
    let resume = "select pg_wal_replay_resume()";
    there.batch_execute(resume).await.expect(resume);
    until(&stage, "unseen", true, &mut bodies).await;
    watcher.until("commit").await;
    drop(stage);
    drop(standby);
    server.stop().await;
}
