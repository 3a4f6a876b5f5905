//! Several databases behind one gateway: nothing of one is ever given for another.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use super::live::stage::{LONG, Watcher};
use crate::harness::{Gateway, Options, api, outcome};

const NAMES: [&str; 2] = ["first", "second"];
const SQL: &str = "select note from item where id = 1";

struct Both<'d> {
    dbs: [(&'static str, &'d TestDatabase); 2],
    gateway: Gateway,
    client: Client,
}

/// Status, where it is, and the body.
type Answer = (StatusCode, String, String);

impl<'d> Both<'d> {
    async fn lay(dbs: [&'d TestDatabase; 2]) -> Self {
        for (name, db) in NAMES.into_iter().zip(dbs) {
            let tables = format!(
                "grant usage on schema api to public;
                 create table api.item (id int primary key, note text not null);
                 insert into api.item values (1, '{name}'), (2, 'same');
                 grant select on api.item to public"
            );
            api(db, &[], &tables).await;
        }
        let dbs = [(NAMES[0], dbs[0]), (NAMES[1], dbs[1])];
        let client = Client::builder().no_proxy().redirect(Policy::none());
        Self {
            gateway: Self::start(&dbs, true).await,
            dbs,
            client: client.build().expect("a client"),
        }
    }

    async fn start(dbs: &[(&str, &TestDatabase)], follow: bool) -> Gateway {
        let options = Options {
            follow,
            ..Options::default()
        };
        let started = Gateway::try_start_several(dbs, options).await;
        started.expect("they open")
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("http://{}{path}", self.gateway.address);
        let post = self.client.post(url);
        post.header("content-type", "application/json")
            .body(body.to_string())
    }

    async fn send(request: RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        let place = answer.headers().get("location");
        let place = place.map_or("", |place| place.to_str().expect("text"));
        let (status, place) = (answer.status(), place.to_owned());
        (status, place, answer.text().await.expect("text"))
    }

    async fn get(&self, place: &str) -> Answer {
        let url = format!("http://{}{place}", self.gateway.address);
        Self::send(self.client.get(url)).await
    }

    /// Where the answer of this database is.
    async fn place(&self, name: &str, sql: &str) -> String {
        let kept = async {
            loop {
                let body = json!({"sql": sql, "database": name});
                let answer = Self::send(self.post("/query", &body)).await;
                if answer.0 == StatusCode::SEE_OTHER {
                    return answer.1;
                }
                assert_eq!(answer.0, StatusCode::OK, "{}", answer.2);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, kept).await.expect("kept")
    }

    /// Runs it in one of them, and waits until what is kept of both is as new.
    async fn change(&self, place: usize, sql: &str) {
        let owner = self.dbs[place].1.superuser().await;
        owner.batch_execute(sql).await.expect(sql);
        let row = owner
            .query_one("select pg_current_wal_insert_lsn()::text", &[])
            .await;
        let lsn: String = row.expect("a position").get(0);
        for name in NAMES {
            let body = json!({"sql": "select 1 as one from item", "database": name});
            let asked = self.post("/query", &body).header("rolegate-min-lsn", &lsn);
            let answer = Self::send(asked).await;
            assert!(
                answer.0.is_redirection() || answer.0.is_success(),
                "{answer:?}"
            );
        }
    }

    async fn watch(&self, name: &str, last: Option<&str>) -> Watcher {
        let body = json!({"sql": "select id, note from item", "database": name});
        let mut request = self.post("/query?live=true", &body);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        Watcher::new(answer)
    }
}

async fn for_two(body: impl AsyncFn([&TestDatabase; 2])) {
    for_each_version(async |first| {
        let second = TestDatabase::create(first.version()).await;
        body([first, &second]).await;
        second.drop().await;
    })
    .await;
}

/// The history of a place, and its hash.
fn parts(place: &str) -> [&str; 2] {
    let mut parts = place.split(['/', '-']).skip(2);
    [
        parts.next().expect("a hash"),
        parts.next().expect("an epoch"),
    ]
}

#[tokio::test]
async fn answers_are_of_the_database_that_is_named() {
    for_two(async |dbs| {
        let both = Both::lay(dbs).await;
        let (status, code, _) = outcome(both.post("/query", &json!({"sql": SQL}))).await;
        assert_eq!((status, &*code), (400, "invalid_params"), "none is named");
        let (status, ..) =
            outcome(both.post("/query", &json!({"sql": SQL, "database": "third"}))).await;
        assert_eq!(status, 404, "there is no such one");
        let places = [
            both.place(NAMES[0], SQL).await,
            both.place(NAMES[1], SQL).await,
        ];
        // The same bytes, and not the same answer.
        let same = "select note from item where id = 2";
        let alike = [
            both.place(NAMES[0], same).await,
            both.place(NAMES[1], same).await,
        ];
        for of in [&places, &alike] {
            assert_ne!(parts(&of[0])[0], parts(&of[1])[0], "{of:?}");
            assert_ne!(parts(&of[0])[1], parts(&of[1])[1], "{of:?}");
        }
        for (name, place) in NAMES.iter().zip(&places) {
            let rows = both.get(place).await;
            assert_eq!(
                (rows.0, rows.2),
                (StatusCode::OK, format!("[{{\"note\":\"{name}\"}}]"))
            );
        }
        // The name of one under the hash of the other.
        for (hash, version, at) in [
            (0, 1, &places),
            (1, 0, &places),
            (0, 1, &alike),
            (1, 0, &alike),
        ] {
            let version = at[version].rsplit('/').next().expect("a version");
            let mixed = both
                .get(&format!("/q/{}/{version}", parts(&at[hash])[0]))
                .await;
            assert_eq!((mixed.0, &mixed.1), (StatusCode::GONE, &at[hash]));
        }
        // What is written in one is not written in the other.
        both.change(0, "update api.item set note = 'new' where id = 1")
            .await;
        assert_ne!(both.place(NAMES[0], SQL).await, places[0]);
        assert_eq!(both.place(NAMES[1], SQL).await, places[1]);
        let rows = both.get(&both.place(NAMES[1], SQL).await).await;
        assert_eq!(rows.2, "[{\"note\":\"second\"}]");
        // Closed in one: gone there, and only there.
        dbs[0]
            .superuser()
            .await
            .batch_execute("revoke select on api.item from public")
            .await
            .expect("closed");
        let closed = async {
            while both.get(&places[0]).await.0 != StatusCode::GONE {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, closed).await.expect("closed");
        let asked = both.post("/query", &json!({"sql": SQL, "database": NAMES[0]}));
        assert_eq!(outcome(asked).await.0, 401);
        assert_eq!(
            both.get(&both.place(NAMES[1], SQL).await).await.2,
            "[{\"note\":\"second\"}]"
        );
        // A token is of one database.
        let member = dbs[0]
            .create_role_with("member", "login", rolegate_testkit::Admitted::Login)
            .await;
        let token = both.gateway.token(&member).await;
        for (name, status) in [(NAMES[0], 200), (NAMES[1], 401)] {
            let asked = both.post("/query", &json!({"sql": "select 1 as a", "database": name}));
            let answer = outcome(
                asked
                    .bearer_auth(&token)
                    .header("prefer", "return=representation"),
            )
            .await;
            assert_eq!(answer.0, status, "{name}: {}", answer.2);
        }
    })
    .await;
}

#[tokio::test]
async fn watchers_are_told_of_the_database_that_is_named() {
    for_two(async |dbs| {
        let both = Both::lay(dbs).await;
        let mut first = both.watch(NAMES[0], None).await;
        let mut second = both.watch(NAMES[1], None).await;
        assert_eq!(first.expect("snapshot").await["rows"][0]["note"], "first");
        assert_eq!(second.expect("snapshot").await["rows"][0]["note"], "second");
        assert_ne!(first.group(), second.group());
        for id in 10..20 {
            let sql = format!("insert into api.item values ({id}, 'of the first')");
            both.change(0, &sql).await;
        }
        both.change(1, "insert into api.item values (3, 'of the second')")
            .await;
        // Its next event is of its own database.
        let change = second.expect("change").await;
        assert_eq!(change["row"], json!({"id": 3, "note": "of the second"}));
        second.expect("commit").await;
        while first.rows.len() < 12 {
            first.next().await.expect("an event");
        }
        assert!(
            first
                .rows
                .iter()
                .all(|(_, row)| row["note"] != "of the second")
        );
        // A place in the one stream is none in the other, which has come further.
        let last = second.last.clone().expect("a cursor");
        let mut back = both.watch(NAMES[0], Some(&last)).await;
        assert_eq!(back.expect("reset").await["reason"], "history");
        assert_eq!(
            back.expect("snapshot").await["rows"]
                .as_array()
                .map(Vec::len),
            Some(12)
        );
    })
    .await;
}

/// Addresses name no database: looking for one does not depend on the others.
#[tokio::test]
async fn a_database_that_is_away_takes_no_other_ones_addresses_away() {
    for_two(async |dbs| {
        let both = Both::lay(dbs).await;
        let place = both.place(NAMES[1], SQL).await;
        let owner = dbs[1].superuser().await;
        let stored = async {
            let sql = "select exists (select from rolegate.query_sources)";
            while !owner.query_one(sql, &[]).await.expect("a row").get::<_, bool>(0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, stored).await.expect("written down");
        // A process that has never had it.
        let other = Both {
            gateway: Both::start(&both.dbs, false).await,
            dbs: both.dbs,
            client: both.client.clone(),
        };
        let name = dbs[0].name();
        let away = [
            format!("alter database {name} allow_connections false"),
            format!("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{name}'"),
        ];
        for sql in away {
            owner.batch_execute(&sql).await.expect("away");
        }
        let answer = other.get(&place).await;
        let here = both.get(&place).await;
        // One that nobody knows may be of the one that is away.
        let unknown = place.replace(parts(&place)[0], &"0".repeat(64));
        let unknown = other.get(&unknown).await;
        let back = format!("alter database {name} allow_connections true");
        owner.batch_execute(&back).await.expect("back");
        let rows = "[{\"note\":\"second\"}]";
        assert_eq!((answer.0, &*answer.2), (StatusCode::OK, rows));
        assert_eq!((here.0, &*here.2), (StatusCode::OK, rows));
        assert_eq!(unknown.0, StatusCode::SERVICE_UNAVAILABLE, "{}", unknown.2);
    })
    .await;
}
