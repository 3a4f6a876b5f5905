//! What is kept while the server is restarted, loses the slot, or lets commits wait for a standby.

use std::time::Duration;

use reqwest::StatusCode;
use rolegate_testkit::Version;
use rolegate_testkit::own_server::OwnServer;
use serde_json::{Value, json};

use crate::harness::{Gateway, Options, api};

const TABLES: &str = "
    grant usage on schema api to public;
    create table api.item (id int primary key, note text not null);
    insert into api.item values (1, 'first'), (2, 'first');
    create table api.other (id int primary key);
    grant select on api.item, api.other to public;
";

struct Place {
    server: OwnServer,
    gateway: Gateway,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Where it is kept, if it is.
    place: Option<String>,
    rows: Value,
}

impl Place {
    async fn new(version: Version) -> Self {
        let server = OwnServer::new(version).await;
        api(&server.db, &[], TABLES).await;
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let gateway = Gateway::start_with(&server.db, options).await;
        Self { server, gateway }
    }

    /// The answer of now; asked for again while the server is away.
    async fn ask(&self, sql: &str) -> Answer {
        let url = format!("http://{}/query", self.gateway.address);
        for _ in 0..300 {
            let post = self
                .gateway
                .client
                .post(&url)
                .header("content-type", "application/json");
            let post = post.header("prefer", "return=representation");
            let answer = post
                .body(json!({"sql": sql}).to_string())
                .send()
                .await
                .expect("an answer");
            if answer.status() == StatusCode::OK {
                let place = answer.headers().get("content-location");
                let place = place.map(|place| place.to_str().expect("text").to_owned());
                let rows = answer.json().await.expect("JSON");
                return Answer { place, rows };
            }
            assert!(answer.status().is_server_error(), "{}", answer.status());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never answered");
    }

    /// The same, once it is kept.
    async fn kept(&self, sql: &str) -> (String, Value) {
        for _ in 0..400 {
            if let Answer {
                place: Some(place),
                rows,
            } = self.ask(sql).await
            {
                return (place, rows);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never kept");
    }

    /// Status and rows at an address.
    async fn at(&self, place: &str) -> (u16, Value) {
        let url = format!("http://{}{place}", self.gateway.address);
        let answer = self
            .gateway
            .client
            .get(url)
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    async fn run(&self, sql: &str) {
        let superuser = self.server.db.superuser().await;
        superuser.batch_execute(sql).await.expect(sql);
    }

    async fn stop(self) {
        drop(self.gateway);
        self.server.stop().await;
    }
}

const ALL: &str = "select id, note from item order by id";

#[tokio::test]
async fn after_a_restart_nothing_is_called_current_that_is_not() {
    for version in Version::ALL {
        let mut place = Place::new(version).await;
        let (first, _) = place.kept(ALL).await;
        place
            .server
            .provisioned
            .cluster
            .kill()
            .await
            .expect("killed");
        place
            .server
            .provisioned
            .cluster
            .restart()
            .await
            .expect("restarted");
        place
            .run("update api.item set note = 'second' where id = 1")
            .await;
        let second = json!([{"id": 1, "note": "second"}, {"id": 2, "note": "first"}]);
        let asked = async {
            loop {
                let (at, rows) = place.kept(ALL).await;
                if rows == second {
                    return at;
                }
                // Between the commit and its being told.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let at = tokio::time::timeout(Duration::from_secs(40), asked)
            .await
            .expect("told");
        assert_ne!(at, first);
        place.stop().await;
    }
}

#[tokio::test]
async fn a_slot_that_is_lost_begins_another_history() {
    for version in Version::ALL {
        let place = Place::new(version).await;
        let (first, rows) = place.kept(ALL).await;
        let superuser = place.server.db.superuser().await;
        // Dropped as soon as nobody reads; changed while nobody can.
        let sql = "do $$ begin loop
            perform pg_terminate_backend(active_pid) from pg_replication_slots where active;
            begin
                perform pg_drop_replication_slot(slot_name) from pg_replication_slots;
                exit;
            exception when object_in_use then null;
            end;
        end loop; end $$";
        superuser.batch_execute(sql).await.expect("dropped");
        place
            .run("update api.item set note = 'unseen' where id = 2")
            .await;
        let asked = async {
            loop {
                let (at, rows) = place.kept(ALL).await;
                if rows[1]["note"] == "unseen" {
                    return at;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let at = tokio::time::timeout(Duration::from_mins(1), asked)
            .await
            .expect("a new history");
        let epoch = |at: &str| at.split(['/', '-']).nth(3).map(str::to_owned);
        assert_ne!(epoch(&at), epoch(&first));
        let (status, body) = place.at(&first).await;
        assert_eq!(status, 410, "{body}");
        place
            .run("update api.item set note = 'first' where id = 2")
            .await;
        // The same rows, and the address of another history all the same.
        let asked = async {
            loop {
                let (at, now) = place.kept(ALL).await;
                if now == rows {
                    return at;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let again = tokio::time::timeout(Duration::from_mins(1), asked)
            .await
            .expect("told");
        assert_ne!(again, first);
        // The bytes of the first are those of now, and its history is over all the same.
        let (status, body) = place.at(&first).await;
        assert_eq!(status, 410, "{body}");
        place.stop().await;
    }
}

/// A commit that waits for a standby is in the log, and others don't see it. One behind it that does not wait is seen
/// before it.
#[tokio::test]
async fn what_waits_for_a_standby_is_missing_from_no_version() {
    for version in Version::ALL {
        let place = Place::new(version).await;
        let (before, _) = place.kept(ALL).await;
        place
            .server
            .set("synchronous_standby_names", "nobody")
            .await;
        let waiting = place.server.db.superuser().await;
        let waits = tokio::spawn(async move {
            let sql =
                "set synchronous_commit = on; update api.item set note = 'waits' where id = 1";
            waiting.batch_execute(sql).await
        });
        let superuser = place.server.db.superuser().await;
        superuser
            .batch_execute("set synchronous_commit = local")
            .await
            .expect("set");
        let is_waiting =
            "select exists (select from pg_stat_activity where wait_event = 'SyncRep')";
        while !superuser
            .query_one(is_waiting, &[])
            .await
            .expect("a row")
            .get::<_, bool>(0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut bodies = std::collections::HashMap::new();
        let mut note = |answer: &Answer| {
            if let Some(place) = &answer.place {
                let known = bodies
                    .entry(place.clone())
                    .or_insert_with(|| answer.rows.clone());
                assert_eq!(*known, answer.rows);
            }
        };
        // It has been told by now, and is not visible: what is shown is right, and not current.
        for _ in 0..10 {
            let answer = place.ask(ALL).await;
            assert_eq!(answer.rows[0]["note"], "first");
            note(&answer);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        superuser
            .batch_execute("update api.item set note = 'does not wait' where id = 2")
            .await
            .expect("written");
        for _ in 0..5 {
            let answer = place.ask(ALL).await;
            assert_eq!(answer.rows[0]["note"], "first");
            assert_eq!(answer.rows[1]["note"], "does not wait");
            // It shows a commit and not the one before it: no version is that.
            assert_eq!(answer.place, None, "{answer:?}");
        }
        place.server.set("synchronous_standby_names", "").await;
        waits.await.expect("ended").expect("committed");
        let (at, rows) = place.kept(ALL).await;
        assert_eq!(
            rows,
            json!([{"id": 1, "note": "waits"}, {"id": 2, "note": "does not wait"}])
        );
        assert_ne!(at, before);
        note(&Answer {
            place: Some(at),
            rows,
        });
        place.stop().await;
    }
}

/// What we write ourselves does not wait for the standby either: the stream goes on, and whoever asks for what he wrote
/// gets it.
#[tokio::test]
async fn a_standby_that_is_missing_does_not_stop_the_stream() {
    for version in Version::ALL {
        let place = Place::new(version).await;
        let (mut last, _) = place.kept(ALL).await;
        place
            .server
            .set("synchronous_standby_names", "nobody")
            .await;
        let superuser = place.server.db.superuser().await;
        superuser
            .batch_execute("set synchronous_commit = local")
            .await
            .expect("set");
        let position = || async {
            let sql = "select max(position)::text from rolegate.change_stream";
            let row = superuser.query_one(sql, &[]).await.expect("a row");
            row.get::<_, Option<String>>(0)
        };
        // Long enough that the position is written down twice.
        for _ in 0..2 {
            let before = position().await;
            let mut round = 0;
            while position().await == before {
                round += 1;
                let sql = format!("update api.item set note = 'round {round}' where id = 1");
                superuser.batch_execute(&sql).await.expect("written");
                let row = superuser
                    .query_one("select pg_current_wal_insert_lsn()::text", &[])
                    .await;
                let lsn: String = row.expect("a position").get(0);
                let url = format!("http://{}/query", place.gateway.address);
                let post = place.gateway.client.post(url).json(&json!({"sql": ALL}));
                let post = post.header("rolegate-min-lsn", lsn);
                let post = post.header("prefer", "return=representation");
                let answer = post.send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::OK, "round {round}");
                let rows: Value = answer.json().await.expect("JSON");
                assert_eq!(rows[0]["note"], format!("round {round}"));
                let (at, rows) = place.kept(ALL).await;
                assert_eq!(rows[0]["note"], format!("round {round}"));
                assert_ne!(at, last);
                last = at;
            }
        }
        place.server.set("synchronous_standby_names", "").await;
        place.stop().await;
    }
}
