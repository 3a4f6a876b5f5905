//! Answers that are kept for everybody: what they are called, when they go.

mod addresses;
mod changes;
mod foreign;
mod gone;
mod names;
mod own_writes;
mod purge;
mod shadowed;
mod temporary;
mod unordered;

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use rolegate_testkit::TestDatabase;
use serde_json::{Value, json};

use super::Setting;
use super::live::stage::{LONG, Watcher};
use crate::harness::Options;

const MORE: &str = "
    create table api.item (id int primary key, tag text not null default 'a', note text);
    insert into api.item select g, 'a', 'note ' || g from generate_series(1, 20) g;
    create table api.keyless (id int);
    insert into api.keyless values (1);
    create unlogged table api.fleeting (id int primary key);
    create table api.full_row (id int primary key, tag text);
    alter table api.full_row replica identity full;
    insert into api.full_row values (1, 'x'), (2, 'y');
    create table api.split (id int, part int, primary key (id, part)) partition by list (part);
    create table api.split_1 partition of api.split for values in (1);
    insert into api.split values (1, 1);
    create view api.items as select id, note from api.item;
    create materialized view api.frozen as select count(*) as n from api.item;
    grant select on all tables in schema api to public;
    revoke select on api.closed from public;
    create function api.renote(of_item int, words text) returns void language sql security definer
        as 'update api.item set note = words where id = of_item';
    grant execute on function api.renote(int, text) to public;
";

struct Kept<'d> {
    db: &'d TestDatabase,
    setting: Setting,
    client: Client,
}

impl<'d> Kept<'d> {
    async fn lay(db: &'d TestDatabase) -> Self {
        Self::lay_with(db, Options::default()).await
    }

    async fn lay_with(db: &'d TestDatabase, options: Options) -> Self {
        let owner = db.superuser().await;
        let setting = Setting::lay_more(
            db,
            Options {
                follow: true,
                ..options
            },
            MORE,
        )
        .await;
        drop(owner);
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .no_gzip()
            .no_brotli();
        Self {
            db,
            setting,
            client: client.build().expect("a client"),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.setting.gateway.address)
    }

    /// Somebody without a token who watches.
    async fn watch(&self, sql: &str) -> Watcher {
        let post = self.client.post(self.url("/query?live=true"));
        let post = post.header("content-type", "application/json");
        let answer = post.body(json!({"sql": sql}).to_string()).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{sql}");
        Watcher::new(answer)
    }

    fn post(&self, body: &Value) -> RequestBuilder {
        let post = self.client.post(self.url("/query"));
        post.header("content-type", "application/json")
            .body(body.to_string())
    }

    async fn ask(&self, sql: &str) -> Response {
        self.post(&json!({"sql": sql}))
            .send()
            .await
            .expect("an answer")
    }

    /// Where the answer is. Nothing is kept while something of before the stream began still runs, in whatever database
    /// of the server.
    async fn location(&self, sql: &str) -> String {
        let kept = async {
            loop {
                let answer = self.ask(sql).await;
                let status = answer.status();
                let location = header(&answer, "location");
                let text = answer.text().await.expect("text");
                if status == StatusCode::SEE_OTHER {
                    assert!(location.starts_with("/q/"), "{location}");
                    return location;
                }
                assert_eq!(status, StatusCode::OK, "{sql}: {text}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let kept = tokio::time::timeout(LONG, kept).await;
        kept.unwrap_or_else(|_| panic!("{sql} is never kept"))
    }

    async fn get(&self, path: &str) -> Response {
        self.client
            .get(self.url(path))
            .send()
            .await
            .expect("an answer")
    }

    /// The rows behind a cursor; `None` if it is gone: what other tests do to roles of the server is a change
    /// of the catalog here, too.
    async fn rows_if_kept(&self, location: &str) -> Option<Value> {
        let answer = self.get(location).await;
        if answer.status() == StatusCode::GONE {
            return None;
        }
        assert_eq!(answer.status(), StatusCode::OK, "{location}");
        serde_json::from_str(&answer.text().await.expect("text")).expect("JSON")
    }

    /// The rows of a query, from where they are kept.
    async fn rows_of(&self, sql: &str) -> Value {
        for _ in 0..10 {
            if let Some(rows) = self.rows_if_kept(&self.location(sql).await).await {
                return rows;
            }
        }
        panic!("{sql} is never kept");
    }

    /// The rows behind a cursor.
    async fn rows(&self, location: &str) -> Value {
        let answer = self.get(location).await;
        assert_eq!(answer.status(), StatusCode::OK, "{location}");
        serde_json::from_str(&answer.text().await.expect("text")).expect("JSON")
    }

    async fn run(&self, sql: &str) {
        let owner = self.db.superuser().await;
        owner.batch_execute(sql).await.expect(sql);
    }

    /// Waits until other processes can know of a query that was asked here.
    async fn wait_written_down(&self) {
        let owner = self.db.superuser().await;
        let stored = async {
            loop {
                let row = owner
                    .query_one("select count(*) from rolegate.query_sources", &[])
                    .await;
                if row.expect("a row").get::<_, i64>(0) > 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let stored = tokio::time::timeout(Duration::from_secs(20), stored);
        stored.await.expect("written down");
    }

    /// Runs it and waits until what is kept is as new.
    async fn change(&self, sql: &str) {
        let owner = self.db.superuser().await;
        owner.batch_execute(sql).await.expect(sql);
        let row = owner
            .query_one("select pg_current_wal_insert_lsn()::text", &[])
            .await;
        let lsn: String = row.expect("a position").get(0);
        let body = json!({"sql": "select 1 as one from api.item where id = 1"});
        let answer = self
            .post(&body)
            .header("rolegate-min-lsn", lsn)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }
}

fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name);
    value.map_or(String::new(), |value| {
        value.to_str().expect("text").to_owned()
    })
}
