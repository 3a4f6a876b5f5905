//! A fleet: one process reads what is committed, and the others hear it from there, also when another one reads.

use std::time::Duration;

use nix::sys::signal::Signal;
use rolegate_pg::cluster::Source;
use rolegate_replication::publication::{self, Installation};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::place::{PATIENCE, Place, signal};

const RELAY: &str = "anonymous = true\n[databases.app.query]\nanswers = \"public\"\n\
    [replication]\nrelay_listen = \"127.0.0.1:0\"\n";

pub(crate) struct Member {
    child: Child,
    gateway: String,
    metrics: String,
}

impl Member {
    async fn start(place: &Place, surfaces: &[&str]) -> Self {
        Self::start_with(place, surfaces, RELAY).await
    }

    pub(crate) async fn start_with(place: &Place, surfaces: &[&str], more: &str) -> Self {
        let (child, ready) = place.serve_with(surfaces, more).await;
        let address = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        Self {
            gateway: address("gateway"),
            metrics: address("metrics"),
            child,
        }
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn becomes(&self, word: &str) {
        let line = format!("app change stream {word}");
        let url = format!("http://{}/readyz", self.metrics);
        let says = async {
            loop {
                let text = reqwest::get(&url).await.expect("an answer").text().await;
                if text.expect("text").contains(&line) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, says).await;
        said.unwrap_or_else(|_| panic!("never {word}"));
    }

    /// Rows, and whether the answer is kept.
    async fn ask(&self) -> (Value, bool) {
        let answer = reqwest::Client::new()
            .post(format!("http://{}/query", self.gateway))
            .header("content-type", "application/json")
            .header("prefer", "return=representation")
            .body(json!({"sql": "select n from counted"}).to_string())
            .send()
            .await
            .expect("an answer");
        let kept = answer.headers().contains_key("content-location");
        (answer.json().await.expect("JSON"), kept)
    }

    async fn keeps(&self, n: i32) {
        let keeps = async {
            while self.ask().await != (json!([{"n": n}]), true) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let kept = tokio::time::timeout(PATIENCE, keeps).await;
        kept.unwrap_or_else(|_| panic!("{n} is never kept"));
    }

    pub(crate) async fn ends(mut self, what: Signal) {
        signal(&self.child, what);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("it ends").expect("a status");
        assert!(status.success() || what == Signal::SIGKILL);
    }
}

/// A table that everybody reads and whose commits are told.
pub(crate) async fn publish(place: &Place) {
    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let mut superuser = superuser.expect("the superuser logs in");
    superuser
        .batch_execute(
            "create table api.counted (id int primary key, n int); insert into api.counted values (1, 0); \
             grant usage on schema api to public; grant select on api.counted to public",
        )
        .await
        .expect("a table");
    let of = Installation {
        schema: "rolegate".to_owned(),
        owner: "rolegate_owner".to_owned(),
    };
    publication::sync(&mut superuser, &of, &["api".to_owned()])
        .await
        .expect("published");
}

async fn fleet(source: Source) {
    let place = Place::start(source).await;
    publish(&place).await;
    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let superuser = superuser.expect("the superuser logs in");
    let reader = Member::start(&place, &["replication"]).await;
    reader.becomes("following").await;
    let gateway = Member::start(&place, &["gateway"]).await;
    let both = Member::start(&place, &["gateway", "replication"]).await;
    for member in [&gateway, &both] {
        member.becomes("relayed").await;
        member.keeps(0).await;
    }
    let count = "update api.counted set n = n + 1";
    superuser.batch_execute(count).await.expect("counted");
    for member in [&gateway, &both] {
        member.keeps(1).await;
    }
    reader.ends(Signal::SIGKILL).await;
    both.becomes("following").await;
    gateway.becomes("relayed").await;
    superuser.batch_execute(count).await.expect("counted");
    for member in [&gateway, &both] {
        member.keeps(2).await;
    }
    let metrics = reqwest::get(format!("http://{}/metrics", both.metrics)).await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    let line = "rolegate_change_relay_subscribers{database=\"app\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    for member in [gateway, both] {
        member.ends(Signal::SIGTERM).await;
    }
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_fleet_follow_on_15() {
    fleet(Source::System { major: Some(15) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_fleet_follow_on_18() {
    fleet(Source::Wheel).await;
}
