//! Rows that nobody has put in order come in another one whenever the plan is another: an address is of one order.

use std::collections::HashMap;

use reqwest::StatusCode;
use rolegate_replication::Lsn;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::json;

use super::super::live::stage::LONG;
use super::{Kept, header};
use crate::harness::{Gateway, Options, RelayPart};

/// In the table from the last to the first, in the index from the first to the last.
const TABLE: &str = "
    create table api.mixed (id int primary key);
    insert into api.mixed select g from generate_series(50, 1, -1) g;
    grant select on api.mixed to public;
";

/// From the table, or from the index, for whoever connects from now on.
async fn plan(db: &TestDatabase, from_index: bool) {
    let superuser = db.superuser().await;
    let (on, name) = (if from_index { "off" } else { "on" }, db.name());
    for sql in [
        format!("alter database {name} set enable_seqscan = {on}"),
        format!("alter database {name} set enable_bitmapscan = {on}"),
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity
         where usename = 'rolegate_anonymous' and datname = current_database()"
            .to_owned(),
    ] {
        superuser.batch_execute(&sql).await.expect("set");
    }
}

/// More than a quarter of what the server keeps in memory: a scan begins where another one was last.
const LARGE: &str = "
    create table api.large (id int primary key, padding text not null);
    alter table api.large alter padding set storage plain;
    insert into api.large select g, repeat('x', 7900) from generate_series(1, 4400) g;
    grant select on api.large to public;
";

#[tokio::test]
async fn no_address_has_two_orders() {
    play(TABLE, "mixed", plan).await;
}

#[tokio::test]
async fn no_address_has_two_orders_of_scans_that_begin_elsewhere() {
    play(LARGE, "large", async |db, elsewhere| {
        if elsewhere {
            let superuser = db.superuser().await;
            let sql = "select id from api.large where padding <> '' limit 1500";
            superuser.query(sql, &[]).await.expect("rows");
        }
    })
    .await;
}

/// Two processes give answers while something puts the rows into another order.
async fn play(definition: &str, table: &str, order: impl AsyncFn(&TestDatabase, bool)) {
    let sql = &format!("select id from {table}");
    for_each_version(async |db| {
        let options = Options {
            relay: Some(RelayPart::PassesOn),
            ..Options::default()
        };
        let kept = Kept::lay_with(db, options).await;
        kept.run(definition).await;
        crate::harness::publish(db).await;
        let other = Options {
            relay: Some(RelayPart::Hears),
            ..Options::default()
        };
        let other = Gateway::start_with(db, other).await;
        let bases =
            [&kept.setting.gateway, &other].map(|gateway| format!("http://{}", gateway.address));
        // Status, where it is or where it went, and the rows.
        let take = async |request: reqwest::RequestBuilder| {
            let answer = request.send().await.expect("an answer");
            let place = header(&answer, "location") + &header(&answer, "content-location");
            (answer.status(), place, answer.text().await.expect("text"))
        };
        let ask = async |base: &String| {
            let kept_there = async {
                loop {
                    let post = kept.client.post(format!("{base}/query"));
                    let post = post.header("content-type", "application/json");
                    let post = post.header("prefer", "return=representation");
                    let answer = take(post.body(json!({"sql": sql}).to_string())).await;
                    if answer.0 == StatusCode::OK && !answer.1.is_empty() {
                        return (answer.1, answer.2);
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(LONG, kept_there).await.expect("kept")
        };
        let mut bodies: HashMap<String, String> = HashMap::new();
        let mut moved = 0;
        for round in 0..4 {
            order(db, false).await;
            if round % 2 == 1 {
                let touch = format!(
                    "insert into api.{table} select (jsonb_populate_record(r, '{{\"id\": 0}}')).* from api.{table} r limit 1;
                     delete from api.{table} where id = 0"
                );
                kept.change(&touch).await;
            }
            let (first, rows) = ask(&bases[0]).await;
            assert_eq!(
                *bodies.entry(first.clone()).or_insert_with(|| rows.clone()),
                rows
            );
            order(db, true).await;
            // The other process has never had it, and makes it in another order.
            let there = take(kept.client.get(format!("{}{first}", bases[1]))).await;
            if there.0 == StatusCode::GONE && !there.1.is_empty() {
                moved += 1;
                assert_ne!(there.1, first);
                let at = take(kept.client.get(format!("{}{}", bases[1], there.1))).await;
                assert_eq!(at.0, StatusCode::OK);
                assert_ne!(at.2, rows, "another order has another name");
                assert_eq!(
                    *bodies
                        .entry(there.1.clone())
                        .or_insert_with(|| at.2.clone()),
                    at.2
                );
                assert_eq!(epoch(&there.1), epoch(&first));
            } else if there.0 != StatusCode::GONE {
                assert_eq!((there.0, &there.2), (StatusCode::OK, &rows));
            }
            let (second, rows) = ask(&bases[1]).await;
            assert_eq!(*bodies.entry(second).or_insert_with(|| rows.clone()), rows);
            for (place, rows) in &bodies {
                for base in &bases {
                    let answer = take(kept.client.get(format!("{base}{place}"))).await;
                    match answer.0 {
                        StatusCode::OK => assert_eq!(answer.2, *rows, "{place}"),
                        status => assert_eq!(status, StatusCode::GONE, "{place}"),
                    }
                }
            }
        }
        assert!(moved > 0, "the order was never another one");
        assert!(bodies.len() > 1);
    })
    .await;
}

/// The history that a place is of.
fn epoch(place: &str) -> &str {
    place.split(['/', '-']).nth(3).expect("an epoch")
}

/// An address that somebody has made up: the bytes are those of its digest, and it says of no position that it was
/// come to.
#[tokio::test]
async fn a_position_that_was_not_come_to_is_of_no_address() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let sql = "select note from item where id = 7";
        let place = kept.location(sql).await;
        let (hash, version) = place["/q/".len()..].split_once('/').expect("two parts");
        let parts: Vec<&str> = version.split('-').collect();
        let [epoch, lsn, digest] = parts[..] else {
            panic!("{version}")
        };
        let at = |epoch: &str, lsn: &str| format!("/q/{hash}/{epoch}-{lsn}-{digest}");
        let foreign = format!(
            "{}{}",
            if epoch.starts_with('0') { '1' } else { '0' },
            &epoch[1..]
        );
        assert_eq!(kept.get(&at(epoch, lsn)).await.status(), StatusCode::OK);
        for made_up in [
            at(epoch, "ffffffffffffffff"),
            at(epoch, "7fffffff00000000"),
            at(&foreign, lsn),
            at(&foreign, "0"),
            at("0", "0"),
        ] {
            let answer = kept.get(&made_up).await;
            assert_eq!(answer.status(), StatusCode::GONE, "{made_up}");
            assert_eq!(header(&answer, "cache-control"), "no-store", "{made_up}");
            assert_eq!(header(&answer, "rolegate-lsn"), "", "{made_up}");
            let there = header(&answer, "location");
            assert_ne!(there, made_up);
            assert_eq!(kept.rows(&there).await, json!([{"note": "note 7"}]));
        }
        // Superseded: what was written since then is not in it, whatever its name says.
        kept.change("update api.item set note = 'new' where id = 7")
            .await;
        let now = kept.location(sql).await;
        let behind = now["/q/".len()..]
            .split(['/', '-'])
            .nth(2)
            .expect("a position");
        let answer = kept.get(&at(epoch, behind)).await;
        assert_eq!(answer.status(), StatusCode::GONE, "{behind} after {lsn}");
        assert_eq!(header(&answer, "location"), now);
        // An earlier one says less than is true.
        let earlier = kept.location(sql).await;
        let (hash, version) = earlier["/q/".len()..].split_once('/').expect("two parts");
        let parts: Vec<&str> = version.split('-').collect();
        let early = format!("/q/{hash}/{}-1-{}", parts[0], parts[2]);
        let answer = kept.get(&early).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let said: Lsn = header(&answer, "rolegate-lsn").parse().expect("a position");
        assert_eq!(said, Lsn(1));
        assert_eq!(answer.text().await.expect("text"), "[{\"note\":\"new\"}]");
    })
    .await;
}
