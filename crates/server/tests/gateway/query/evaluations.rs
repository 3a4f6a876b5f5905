//! How often a query runs: once for all who want the same, and not for what can't matter to it.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use reqwest::StatusCode;
use rolegate_server::config::{GatewayConfig, LiveBounds};
use rolegate_server::metrics;
use rolegate_testkit::for_each_version;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::Setting;
use super::live::stage::{LONG, Stage, with_bounds};
use crate::harness::{Options, publish};

/// What the process has counted since it was looked at last.
struct Counted {
    handle: PrometheusHandle,
}

impl Counted {
    fn new() -> Self {
        Self {
            handle: metrics::install().expect("a recorder"),
        }
    }

    /// All of this name with these labels.
    fn of(&self, name: &str, label: &str) -> u64 {
        let text = self.handle.render();
        let lines = text.lines().filter(|line| {
            !line.starts_with('#') && line.starts_with(name) && line.contains(label)
        });
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }
}

/// Long enough for all of them to come meanwhile. Another one each time.
fn cold(nth: u32) -> String {
    format!("select count(*) as n from open, generate_series(1, 1000000) a where a > {nth}")
}

/// Where each of ten answers to it is kept that are asked for at once. `None`: one is not, because the change stream is
/// late for once.
async fn ask_at_once(setting: &Setting, sql: &str, nth: u32) -> Option<BTreeSet<String>> {
    let asked = (0..10).map(|number| {
        let token = (number % 2 == 0).then_some(setting.token.as_str());
        let post = setting.ask(token, &json!({"sql": sql}));
        post.header("prefer", "return=representation").send()
    });
    let mut places = BTreeSet::new();
    let mut all = true;
    for answer in futures_util::future::join_all(asked).await {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        match answer.headers().get("content-location") {
            Some(place) => _ = places.insert(place.to_str().expect("text").to_owned()),
            None => all = false,
        }
        let rows = format!("[{{\"n\":{}}}]", 2 * (1_000_000 - nth));
        assert_eq!(answer.text().await.expect("text"), rows);
    }
    all.then_some(places)
}

#[tokio::test]
async fn what_many_ask_at_once_runs_once() {
    let counted = Counted::new();
    for_each_version(async |db| {
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let of =
            |outcome: &str| counted.of(metrics::QUERY_CACHE, &format!("outcome=\"{outcome}\""));
        // So that nothing but the query itself takes time, and answers are kept.
        let ready = async {
            while of("made") == 0 {
                setting.anonymous("select id from open").await;
            }
        };
        timeout(LONG, ready).await.expect("kept");
        for nth in 0.. {
            let sql = cold(nth);
            let (made, found) = (of("made"), of("found"));
            let Some(places) = ask_at_once(&setting, &sql, nth).await else {
                assert!(nth < 5, "it is never kept");
                continue;
            };
            assert_eq!(places.len(), 1, "{places:?}");
            assert_eq!(of("made") - made, 1);
            // They waited for it; it was not there yet when they came.
            assert!(of("found") - found < 9);
            let found = of("found");
            setting.anonymous(&sql).await;
            assert!(of("found") > found, "and is kept");
            assert_eq!(of("made") - made, 1);
            break;
        }
    })
    .await;
}

#[tokio::test]
async fn a_group_runs_once_for_all_who_watch() {
    let counted = Counted::new();
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut watchers = Vec::new();
        for _ in 0..30 {
            let mut watcher = stage.watch(None, "select id, name from open").await;
            watcher.expect("snapshot").await;
            watchers.push(watcher);
        }
        let runs = || counted.of(metrics::LIVE_RUNS, "");
        let before = runs();
        for number in 0..5 {
            let txid = stage
                .write(&format!(
                    "update api.open set name = 'n{number}' where id = 1"
                ))
                .await;
            for watcher in &mut watchers {
                watcher.sees(txid).await;
            }
        }
        let ran = runs() - before;
        // Once for each commit, and once more where that came before it could be seen.
        assert!((5..30).contains(&ran), "{ran}");
        let frames: Vec<_> = watchers
            .iter()
            .map(|watcher| watcher.last.clone())
            .collect();
        assert!(
            frames.windows(2).all(|pair| pair[0] == pair[1]),
            "{frames:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn commits_of_other_rows_do_not_wake_a_group() {
    let counted = Counted::new();
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut one = stage.watch(None, "select id, name from open where id = 1").await;
        one.expect("snapshot").await;
        let runs = || counted.of(metrics::LIVE_RUNS, "");
        let before = runs();
        for number in 0..50 {
            stage
                .write(&format!("insert into api.open values ({}, 'other')", 100 + number))
                .await;
        }
        stage.write("update api.open set name = 'other' where id = 2; delete from api.open where id > 100").await;
        let txid = stage.write("update api.open set name = 'mine' where id = 1").await;
        one.expect("change").await;
        one.sees(txid).await;
        // It was told of its own, and of no other one; and it ran for no other one.
        assert_eq!(one.txids, [txid]);
        let ran = runs() - before;
        assert!((1..10).contains(&ran), "{ran}");
        // A row that comes in under its key is its own.
        let txid = stage.write("update api.open set id = 3 where id = 1; update api.open set id = 1 where id = 2").await;
        one.sees(txid).await;
        assert_eq!(one.column("name"), [json!("other")]);
    })
    .await;
}

/// Runs of a role are bounded by a rate; what comes meanwhile is told together.
#[tokio::test]
async fn a_busy_table_makes_no_more_runs_than_may_be() {
    let counted = Counted::new();
    for_each_version(async |db| {
        let bounds = LiveBounds {
            runs_per_second: 2,
            ..LiveBounds::default()
        };
        let stage = Stage::set_with(db, with_bounds(bounds)).await;
        let mut watcher = stage.watch(None, "select id, name from open").await;
        watcher.expect("snapshot").await;
        let runs = || counted.of(metrics::LIVE_RUNS, "");
        let (before, began) = (runs(), Instant::now());
        let mut last = 0;
        for number in 0..100 {
            last = stage
                .write(&format!(
                    "update api.open set name = 'n{number}' where id = 1"
                ))
                .await;
        }
        watcher.sees(last).await;
        let ran = runs() - before;
        // As many as the time that has passed allows, and those of a second at once.
        let most = 2 * (began.elapsed().as_secs() + 1) + 2;
        assert!(ran <= most, "{ran} of {most}");
        assert_eq!(watcher.txids.len(), 100, "each of them is told");
        assert_eq!(watcher.column("name"), [json!("n99"), json!("two")]);
    })
    .await;
}

/// Groups that are woken at once take turns.
#[tokio::test]
async fn no_more_run_at_the_same_time_than_may() {
    for_each_version(async |db| {
        let bounds = LiveBounds {
            concurrency: 2,
            ..LiveBounds::default()
        };
        let stage = Stage::set_with(db, with_bounds(bounds)).await;
        stage
            .run("create table api.slow (id int primary key); grant select on api.slow to public")
            .await;
        publish(db).await;
        let mut watchers = Vec::new();
        for number in 0..6 {
            let sql =
                format!("select o.id, o.name, {number} as n from open o left join slow on true");
            let mut watcher = stage.watch(None, &sql).await;
            watcher.expect("snapshot").await;
            watchers.push(watcher);
        }
        // All of them have to run, and none gets to its end.
        let locking = db.superuser().await;
        let lock = "begin; lock table api.slow in access exclusive mode";
        locking.batch_execute(lock).await.expect("locked");
        let txid = stage
            .write("update api.open set name = 'new' where id = 1")
            .await;
        let running = "select count(distinct pid) from pg_locks
            where relation = 'api.slow'::regclass and not granted";
        let running = async || {
            let row = stage
                .superuser
                .query_one(running, &[])
                .await
                .expect("a row");
            row.get::<_, i64>(0)
        };
        let begun = async {
            while running().await < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, begun).await.expect("they run");
        // Nothing tells that no more of them will begin.
        for _ in 0..50 {
            assert_eq!(running().await, 2);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        locking.batch_execute("commit").await.expect("unlocked");
        for watcher in &mut watchers {
            watcher.sees(txid).await;
            assert_eq!(watcher.by_id()["1"]["name"], "new");
        }
    })
    .await;
}

/// Who hears nothing for long hears that there is nothing.
#[tokio::test]
async fn silence_is_broken() {
    for_each_version(async |db| {
        let defaults = Options::default();
        let gateway = GatewayConfig {
            heartbeat: Duration::from_millis(50),
            ..defaults.gateway
        };
        let options = Options {
            gateway,
            ..defaults
        };
        let stage = Stage::set_with(db, options).await;
        let body = json!({"sql": "select id from open"});
        let mut answer = stage.ask(None, &body, None).await;
        let mut received = String::new();
        let heard = async {
            while received.matches("\n\n:heartbeat\n\n:heartbeat\n\n").count() == 0 {
                let chunk = answer.chunk().await.expect("a chunk").expect("it goes on");
                received.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        let heard = timeout(LONG, heard).await;
        assert!(heard.is_ok(), "{received}");
        assert!(received.starts_with("event: snapshot"), "{received}");
    })
    .await;
}
