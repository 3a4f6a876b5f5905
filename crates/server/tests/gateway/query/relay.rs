//! Processes that hear from another one what is committed: they keep answers and are watched like that one.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use rolegate_replication::Lsn;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::Setting;
use super::live::stage::{LONG, Stage};
use crate::harness::{Gateway, Options, RelayPart};

const MORE: &str = "
    create table api.counted (id int primary key, n int not null);
    insert into api.counted values (1, 0);
    grant select on api.counted to public;
";
const COUNT: &str = "select n from counted";

fn reads() -> Options {
    Options {
        follow: true,
        relay: Some(RelayPart::PassesOn),
        ..Options::default()
    }
}

fn hears() -> Options {
    Options {
        relay: Some(RelayPart::Hears),
        ..Options::default()
    }
}

struct Place<'d> {
    db: &'d TestDatabase,
    client: Client,
}

/// What was answered.
#[derive(Debug)]
struct Answered {
    rows: Value,
    /// Its address, if it is kept.
    place: Option<String>,
    cache_control: String,
    /// It is at least as new as this.
    lsn: Option<Lsn>,
}

fn header(answer: &Response, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?;
    Some(value.to_str().expect("text").to_owned())
}

impl<'d> Place<'d> {
    fn new(db: &'d TestDatabase) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .no_gzip()
            .build();
        Self {
            db,
            client: client.expect("a client"),
        }
    }

    async fn ask(&self, gateway: &Gateway, sql: &str, since: Option<Lsn>) -> Answered {
        let mut request = self
            .client
            .post(format!("http://{}/query", gateway.address))
            .header("content-type", "application/json")
            .header("prefer", "return=representation")
            .body(json!({"sql": sql}).to_string());
        if let Some(lsn) = since {
            request = request.header("rolegate-min-lsn", lsn.to_string());
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{sql}");
        Answered {
            place: header(&answer, "content-location"),
            cache_control: header(&answer, "cache-control").unwrap_or_default(),
            lsn: header(&answer, "rolegate-lsn").map(|lsn| lsn.parse().expect("a position")),
            rows: answer.json().await.expect("JSON"),
        }
    }

    /// Its address, once it is kept.
    async fn kept(&self, gateway: &Gateway, sql: &str) -> String {
        let kept = async {
            loop {
                if let Some(place) = self.ask(gateway, sql, None).await.place {
                    return place;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, kept).await.expect("kept in time")
    }

    /// One more, and where the log was after it.
    async fn count(&self) -> Lsn {
        let superuser = self.db.superuser().await;
        let update = "update api.counted set n = n + 1";
        superuser.batch_execute(update).await.expect("counted");
        let sql = "select pg_current_wal_insert_lsn()::text";
        let row = superuser.query_one(sql, &[]).await.expect("a position");
        row.get::<_, String>(0).parse().expect("a position")
    }

    async fn get(&self, gateway: &Gateway, place: &str) -> (u16, Option<String>, Value) {
        let url = format!("http://{}{place}", gateway.address);
        let answer = self.client.get(url).send().await.expect("an answer");
        (
            answer.status().as_u16(),
            header(&answer, "etag"),
            answer.json().await.expect("JSON"),
        )
    }
}

#[tokio::test]
async fn what_is_kept_there_has_the_same_name_and_goes_at_the_same_time() {
    for_each_version(async |db| {
        let place = Place::new(db);
        let reader = Setting::lay_more(db, reads(), MORE).await;
        let other = Gateway::start_with(db, hears()).await;
        place.kept(&other, COUNT).await;
        for n in 1..=20 {
            let lsn = place.count().await;
            // Held here: from what the commit left there is nothing to be had any more.
            let there = place.ask(&other, COUNT, Some(lsn)).await;
            assert_eq!(there.rows, json!([{"n": n}]));
            assert!(there.lsn.is_some_and(|at| at >= lsn), "{there:?}");
        }
        place.kept(&other, COUNT).await;
        place.kept(&reader.gateway, COUNT).await;
        let lsn = place.count().await;
        let here = place.ask(&reader.gateway, COUNT, Some(lsn)).await;
        let there = place.ask(&other, COUNT, Some(lsn)).await;
        assert_eq!(here.rows, there.rows);
        assert!(here.place.is_some());
        assert_eq!(here.place, there.place, "one version, wherever it was made");
        let address = there.place.expect("an address");
        let (status, etag, rows) = place.get(&other, &address).await;
        assert_eq!((status, rows), (200, json!([{"n": 21}])));
        assert!(etag.is_some());
        // And what everybody shares there comes from where it is kept: nobody has run it again.
        let again = place.ask(&other, COUNT, None).await;
        assert_eq!(again.place.as_deref(), Some(&*address));
    })
    .await;
}

/// Whatever an answer says that it is as new as, it is.
#[tokio::test]
async fn nothing_is_called_current_that_is_not_whoever_reads() {
    for_each_version(async |db| {
        let place = Place::new(db);
        let first = Setting::lay_more(db, reads(), MORE).await;
        let other = Gateway::start_with(db, hears()).await;
        place.kept(&other, COUNT).await;
        let mut written: Vec<Lsn> = vec![Lsn::default()];
        let check = |answered: &Answered, written: &[Lsn]| {
            let n = answered.rows[0]["n"].as_u64().expect("a number");
            let least = answered.lsn.map_or(0, |lsn| {
                written.iter().rposition(|at| *at <= lsn).unwrap_or(0)
            });
            assert!(n >= least as u64, "{answered:?} and {written:?}");
            if answered.place.is_none() {
                assert!(answered.cache_control.contains("no-store"), "{answered:?}");
            }
        };
        for _ in 0..30 {
            written.push(place.count().await);
            check(&place.ask(&other, COUNT, None).await, &written);
        }
        // The one that reads goes away, in the middle of it.
        drop(first);
        let gone = Instant::now();
        while other.database_follows() {
            assert!(gone.elapsed() < Duration::from_secs(8), "nobody noticed");
            sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..10 {
            written.push(place.count().await);
            let answered = place.ask(&other, COUNT, None).await;
            // From the database, and as it is there: nothing tells when it would be old.
            assert_eq!(answered.rows, json!([{"n": written.len() - 1}]));
            assert_eq!(answered.place, None);
            check(&answered, &written);
        }
        // Another one takes over.
        let second = Gateway::start_with(db, reads()).await;
        place.kept(&other, COUNT).await;
        for _ in 0..10 {
            written.push(place.count().await);
            check(&place.ask(&other, COUNT, None).await, &written);
        }
        let lsn = place.count().await;
        let here = place.ask(&second, COUNT, Some(lsn)).await;
        let there = place.ask(&other, COUNT, Some(lsn)).await;
        assert_eq!((here.rows, here.place), (there.rows, there.place));
    })
    .await;
}

#[tokio::test]
async fn live_queries_are_told_where_nobody_reads() {
    for_each_version(async |db| {
        let mut stage = Stage::set_with(db, reads()).await;
        let hearing = Gateway::start_with(db, hears()).await;
        let reader = std::mem::replace(&mut stage.gateway, hearing);
        let follows = async {
            while !stage.gateway.database_follows() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, follows).await.expect("it hears");
        let sql = "select id, name from open";
        let mut watcher = stage.watch(None, sql).await;
        watcher.expect("snapshot").await;
        for n in 3..10 {
            let txid = stage
                .write(&format!("insert into api.open values ({n}, 'more')"))
                .await;
            watcher.sees(txid).await;
            assert_eq!(
                watcher.by_id(),
                stage.rows("select id, name from api.open").await
            );
        }
        // While nobody reads nobody begins to watch; who watches goes on when another one does.
        drop(reader);
        let gone = async {
            while stage.gateway.database_follows() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, gone).await.expect("noticed");
        let refused = stage.refusal(None, "select name from open").await;
        assert_eq!(refused, (503, "overloaded".to_owned()));
        stage.run("delete from api.open where id = 1").await;
        let _second = Gateway::start_with(db, reads()).await;
        watcher.until("snapshot").await;
        let txid = stage
            .write("insert into api.open values (100, 'last')")
            .await;
        watcher.sees(txid).await;
        assert_eq!(
            watcher.by_id(),
            stage.rows("select id, name from api.open").await
        );
    })
    .await;
}
