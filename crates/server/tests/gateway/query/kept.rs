//! Answers that are kept for everybody: what they are called, when they go.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use rolegate_server::config::QueryCache;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use super::Setting;
use crate::harness::{Options, publish};

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

    /// Where the answer is.
    async fn location(&self, sql: &str) -> String {
        let answer = self.ask(sql).await;
        let status = answer.status();
        let location = header(&answer, "location");
        assert_eq!(
            status,
            StatusCode::SEE_OTHER,
            "{sql}: {}",
            answer.text().await.expect("text")
        );
        assert!(location.starts_with("/q/"), "{location}");
        location
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

#[tokio::test]
async fn an_answer_for_everybody_has_an_address() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let answer = kept.ask("select id, name from open order by id").await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(header(&answer, "cache-control"), "no-store");
        assert_eq!(header(&answer, "rolegate-scope"), "public");
        assert!(header(&answer, "rolegate-lsn").contains('/'));
        let location = header(&answer, "location");
        assert_eq!(answer.text().await.expect("text"), "");

        let answer = kept.get(&location).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "content-type"), "application/json");
        assert_eq!(header(&answer, "cache-control"), "public, max-age=259200");
        let etag = header(&answer, "etag");
        assert_eq!(
            etag,
            format!("\"{}\"", location["/q/".len()..].replace('/', ":"))
        );
        let rows = answer.text().await.expect("text");
        assert_eq!(
            rows,
            "[{\"id\":1,\"name\":\"one\"},\n{\"id\":2,\"name\":\"two\"}]"
        );

        let same = kept
            .client
            .get(kept.url(&location))
            .header("if-none-match", &etag);
        let same = same.send().await.expect("an answer");
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header(&same, "etag"), etag);
        let head = kept
            .client
            .head(kept.url(&location))
            .send()
            .await
            .expect("an answer");
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(header(&head, "content-length"), rows.len().to_string());

        // The same text, for everybody, also with a token; another form is another answer.
        assert_eq!(
            kept.location("select id, name from open order by id").await,
            location
        );
        let body = json!({"sql": "select id, name from open order by id"});
        let member = kept
            .post(&body)
            .bearer_auth(&kept.setting.token)
            .send()
            .await
            .expect("an answer");
        assert_eq!(header(&member, "location"), location);
        let wrong = kept
            .post(&body)
            .bearer_auth("wrong")
            .send()
            .await
            .expect("an answer");
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
        let csv = kept
            .post(&body)
            .header("accept", "text/csv")
            .send()
            .await
            .expect("an answer");
        let csv = header(&csv, "location");
        assert_ne!(csv, location);
        assert_eq!(
            kept.get(&csv).await.text().await.expect("text"),
            "id,name\r\n1,one\r\n2,two\r\n"
        );
    })
    .await;
}

#[tokio::test]
async fn a_kept_answer_comes_as_it_is_wanted() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let body = json!({"sql": "select id, name from open order by id"});
        let location = kept.location("select id, name from open order by id").await;
        let answer = kept.get(&location).await;
        let etag = header(&answer, "etag");
        let rows = answer.text().await.expect("text");
        let whole = kept
            .post(&body)
            .header("prefer", "return=representation")
            .send()
            .await
            .expect("an answer");
        assert_eq!(whole.status(), StatusCode::OK);
        assert_eq!(header(&whole, "content-location"), location);
        assert_eq!(
            header(&whole, "preference-applied"),
            "return=representation"
        );
        assert_eq!(whole.text().await.expect("text"), rows);

        let get = kept
            .get("/query?sql=select+id,+name+from+open+order+by+id")
            .await;
        assert_eq!(get.status(), StatusCode::OK);
        assert_eq!(
            header(&get, "cache-control"),
            "public, max-age=1, stale-while-revalidate=10"
        );
        assert_eq!(header(&get, "etag"), etag);
        assert!(!header(&get, "vary").contains("authorization"));
        // A shared cache does not give it to who asks for what he wrote, nor his answer to others.
        let vary = get.headers().get_all("vary").iter();
        let vary: Vec<_> = vary.filter_map(|value| value.to_str().ok()).collect();
        assert!(
            vary.join(", ").contains("rolegate-min-lsn, rolegate-txid"),
            "{vary:?}"
        );
        let newer = kept
            .client
            .get(kept.url("/query?sql=select+id,+name+from+open+order+by+id"));
        let newer = newer
            .header("rolegate-min-lsn", "0/1")
            .send()
            .await
            .expect("an answer");
        assert_eq!(newer.status(), StatusCode::OK);
        assert_eq!(header(&newer, "cache-control"), "no-store");
        assert_eq!(get.text().await.expect("text"), rows);
        for encoding in ["gzip", "zstd"] {
            let weak = format!("W/{etag}");
            let packed = kept.client.get(kept.url(&location));
            let packed = packed.header("accept-encoding", encoding);
            let packed = packed.send().await.expect("an answer");
            assert_eq!(header(&packed, "content-encoding"), encoding);
            assert_eq!(header(&packed, "etag"), weak);
            let again = kept.client.get(kept.url(&location));
            let again = again
                .header("accept-encoding", encoding)
                .header("if-none-match", &weak);
            let again = again.send().await.expect("an answer");
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{encoding}");
        }
    })
    .await;
}

/// What other sessions have for themselves is no change of the catalog.
#[tokio::test]
async fn temporary_tables_drop_nothing() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let sql = "select note from item where id = 7";
        let other = db.superuser().await;
        // Other tests make roles, which is a change.
        for _ in 0..10 {
            let answer = kept.ask(sql).await;
            if answer.status() != StatusCode::SEE_OTHER {
                continue;
            }
            let before = header(&answer, "location");
            other
                .batch_execute(
                    "create temp table t (a int); create temp view v as select * from t;
                     create function pg_temp.f() returns int language sql as 'select 1'",
                )
                .await
                .expect("made");
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let kept_there = kept.rows_if_kept(&before).await.is_some();
            other.batch_execute("discard temp").await.expect("dropped");
            tokio::time::sleep(Duration::from_millis(1200)).await;
            if kept_there && kept.rows_if_kept(&before).await.is_some() {
                return;
            }
        }
        panic!("it is never kept");
    })
    .await;
}

#[tokio::test]
async fn what_is_private_never_has_one() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        for sql in ["select id from docs", "select secret from closed"] {
            let body = json!({"sql": sql});
            let answer = kept
                .post(&body)
                .bearer_auth(&kept.setting.token)
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(header(&answer, "cache-control"), "private, no-store");
            assert_eq!(header(&answer, "location"), "");
            assert!(header(&answer, "vary").contains("authorization"));
            assert_eq!(kept.ask(sql).await.status(), StatusCode::UNAUTHORIZED);
        }
        // Public, and from something whose changes are not seen.
        for sql in [
            "select 'today10:00'::timestamp as a",
            "select ('no' || 'w')::timestamptz as a",
            "select timestamptz(replace('xow', 'x', 'n')) as a",
            "select id from keyless",
            "select id from fleeting",
            "select n from frozen",
            "select now() as a",
            "select random() as a from open",
            "select current_date as a",
            "select \"now\"() as a",
            "select date 'today' as a",
            "select name from open where at > 'yesterday'",
        ] {
            let answer = kept.ask(sql).await;
            assert_eq!(answer.status(), StatusCode::OK, "{sql}");
            assert_eq!(header(&answer, "cache-control"), "no-store", "{sql}");
            assert_eq!(header(&answer, "rolegate-scope"), "public", "{sql}");
        }
        let moving = json!({"sql": "select $1::date as a", "params": ["today"]});
        assert_eq!(
            kept.post(&moving).send().await.expect("an answer").status(),
            StatusCode::OK
        );
        let fixed = json!({"sql": "select $1::date as a", "params": ["2026-01-01"]});
        assert_eq!(
            kept.post(&fixed).send().await.expect("an answer").status(),
            StatusCode::SEE_OTHER
        );
    })
    .await;
}

#[tokio::test]
async fn a_commit_gives_a_new_address_to_what_it_touches() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let one = "select note from item where id = 7";
        let other = "select note from item where id = 8";
        let all = "select count(*) as n from item";
        let view = "select note from items where id = 7";
        let twice = "select a.note from item a where a.id = 7 and exists (select from item b where b.id = 8)";
        let first = [one, other, all, view, twice];
        let mut places = Vec::new();
        for sql in first {
            places.push(kept.location(sql).await);
        }
        assert_eq!(kept.rows_of(one).await, json!([{"note": "note 7"}]));
        kept.change("update api.item set note = 'new' where id = 8").await;
        let mut after = Vec::new();
        for sql in first {
            after.push(kept.location(sql).await);
        }
        assert_ne!(after[1], places[1]);
        assert_eq!(kept.rows_of(other).await, json!([{"note": "new"}]));
        // The same bytes, and another version: something was written in between.
        for same in [2, 3, 4] {
            assert_ne!(after[same], places[same], "{}", first[same]);
        }
        // The old address keeps the old bytes, unless something in the catalog has changed just then.
        let mut keeps = false;
        for round in 0..10 {
            let before = kept.location(other).await;
            let Some(old) = kept.rows_if_kept(&before).await else {
                continue;
            };
            kept.change(&format!("update api.item set note = '{round}' where id = 8")).await;
            if let Some(rows) = kept.rows_if_kept(&before).await {
                assert_eq!(rows, old);
                keeps = true;
                break;
            }
        }
        assert!(keeps);

        for change in [
            "insert into api.item values (100)",
            "delete from api.item where id = 100",
            "update api.item set id = 100 where id = 8",
            "truncate api.item",
        ] {
            let before = (kept.location(one).await, kept.location(other).await, kept.location(all).await);
            kept.change(change).await;
            let rows = kept.rows_of(all).await;
            let owner = db.superuser().await;
            let row = owner.query_one("select count(*) from api.item", &[]).await.expect("a row");
            assert_eq!(rows, json!([{"n": row.get::<_, i64>(0)}]), "{change}");
            assert_ne!(kept.location(all).await, before.2, "{change}");
            let empties = change.starts_with("truncate");
            if empties || change.contains("id = 8") {
                assert_ne!(kept.location(other).await, before.1, "{change}");
            }
            if empties {
                assert_ne!(kept.location(one).await, before.0, "{change}");
            }
        }
        // Another row does not count; but something in the catalog may have changed just then.
        kept.change("insert into api.item select g from generate_series(1, 9) g").await;
        let mut stayed = 0;
        for round in 0..5 {
            let before = kept.location(one).await;
            kept.change(&format!("update api.item set note = '{round}' where id = 9")).await;
            stayed += usize::from(kept.location(one).await == before);
        }
        assert!(stayed >= 3, "{stayed}");
    })
    .await;
}

/// Values that are written in another way than the stream writes them, and keys that tell only a part.
#[tokio::test]
async fn a_row_is_found_however_it_is_asked_for() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        kept.run(
            "create table api.keys (id uuid primary key, note text);
             insert into api.keys values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a');
             create table api.days (d date primary key, note text);
             insert into api.days values ('2026-01-02', 'a');
             create table api.flags (f boolean, n int, note text, primary key (n, f));
             insert into api.flags values (true, 1, 'a'), (false, 1, 'b');
             create table api.wide (c char(5) primary key, n numeric unique, note text);
             insert into api.wide values ('a', 1.50, 'a');
             grant select on all tables in schema api to public; revoke select on api.closed from public;",
        )
        .await;
        let owner = db.superuser().await;
        let loose = "create collation api.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
        if owner.batch_execute(loose).await.is_err() {
            // A build without it: nothing is equal that is written otherwise.
            kept.run("create collation api.loose from \"C\"").await;
        }
        kept.run(
            "create table api.words (w text collate api.loose primary key, note text);
             insert into api.words values ('Abc', 'a'), ('ABC', 'a') on conflict do nothing;
             grant select on api.words to public;",
        )
        .await;
        publish(db).await;
        let one = |sql: &str| json!({"sql": sql});
        let with = |sql: &str, param: Value| json!({"sql": sql, "params": [param]});
        for (body, change) in [
            (one("select note from item where id = 007"), "update api.item set note = 'b' where id = 7"),
            (one("select note from item where id = 7.0"), "update api.item set note = 'c' where id = 7"),
            (one("select note from item where id = '7'"), "update api.item set note = 'd' where id = 7"),
            (with("select note from item where id = $1", json!(" 7 ")), "update api.item set note = 'e' where id = 7"),
            (with("select note from item where id = $1", json!(7)), "update api.item set note = 'f' where id = 7"),
            (one("select note from item where tag = 'a' and id = 7"), "update api.item set tag = 'b' where id = 7"),
            (one("select count(*) as n from item where tag = 'a'"), "update api.item set tag = 'b' where id = 9"),
            (one("select note from keys where id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"), "update api.keys set note = 'b'"),
            (one("select note from keys where id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"), "update api.keys set note = 'c'"),
            (one("select note from days where d = '2026-1-2'"), "update api.days set note = 'b'"),
            (one("select note from days where d = '2026-01-02'"), "update api.days set note = 'c'"),
            (one("select note from days where d = 'Jan 2 2026'"), "update api.days set note = 'd'"),
            (one("select note from flags where f = true and n = 1"), "update api.flags set note = 'b' where f"),
            (one("select note from flags where n = 1 and f = 'yes'"), "update api.flags set note = 'c' where f"),
            (one("select note from flags where n = 1"), "update api.flags set note = 'd' where not f"),
            (one("select note from words where w = 'ABC'"), "update api.words set note = 'b'"),
            (one("select note from wide where c = 'a'"), "update api.wide set note = 'b'"),
            (one("select note from wide where c = 'a '"), "update api.wide set note = 'c'"),
            (one("select note from wide where n = 1.5"), "update api.wide set note = 'd'"),
            (one("select tag from full_row where tag = 'x'"), "update api.full_row set tag = 'z' where id = 1"),
            (one("select tag from full_row where tag = 'w'"), "update api.full_row set tag = 'w' where id = 2"),
            (one("select part from split where id = 1"), "insert into api.split values (1, 1) on conflict do nothing; delete from api.split"),
        ] {
            let ask = async || {
                let answer = kept.post(&body).header("prefer", "return=representation").send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::OK, "{body}");
                (header(&answer, "content-location"), answer.text().await.expect("text"))
            };
            let before = ask().await;
            assert_eq!(ask().await, before, "{body}");
            kept.change(change).await;
            let after = ask().await;
            assert_ne!(after.0, before.0, "{body}: {change}");
            assert_ne!(after.1, before.1, "{body}: {change}");
        }
    })
    .await;
}

#[tokio::test]
async fn definitions_and_rights_change_what_is_kept() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let sql = "select * from item where id = 7";
        let first = kept.location(sql).await;
        kept.change("alter table api.item add column more int default 5").await;
        let second = kept.location(sql).await;
        assert_eq!(kept.rows(&second).await[0]["more"], 5);
        assert_ne!(first, second);
        kept.change("alter table api.item drop column more").await;
        assert!(kept.rows_of(sql).await[0].get("more").is_none());

        // A view that means something else.
        let view = "select note from items where id = 7";
        let before = kept.location(view).await;
        kept.change("create or replace view api.items as select id, 'x'::text as note from api.item").await;
        assert_ne!(kept.location(view).await, before);
        assert_eq!(kept.rows_of(view).await, json!([{"note": "x"}]));

        // A function that means something else.
        let call = "select plain(1) as a from item where id = 7";
        let before = kept.location(call).await;
        assert_eq!(kept.rows(&before).await, json!([{"a": 2}]));
        kept.change("create or replace function api.plain(a int) returns int language sql immutable as 'select a + 2'").await;
        assert_eq!(kept.rows_of(call).await, json!([{"a": 3}]));

        // Not for everybody any more: not even at the old address, within a second.
        let last = kept.location(sql).await;
        for (close, open) in [
            ("revoke select on api.item from public", "grant select on api.item to public"),
            ("alter table api.item enable row level security", "alter table api.item disable row level security"),
            ("revoke usage on schema api from public", "grant usage on schema api to public"),
        ] {
            let open_place = kept.location(sql).await;
            kept.run(close).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(kept.ask(sql).await.status(), StatusCode::UNAUTHORIZED, "{close}");
            for place in [&last, &open_place] {
                let gone = kept.get(place).await;
                assert_eq!(gone.status(), StatusCode::GONE, "{close}");
                assert_eq!(header(&gone, "location"), "");
                assert_eq!(header(&gone, "cache-control"), "no-store");
            }
            kept.run(open).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(kept.ask(sql).await.status(), StatusCode::SEE_OTHER, "{open}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_that_is_not_held_is_made_again_or_gone() {
    for_each_version(async |db| {
        let query_cache = QueryCache { bytes: 8 * 4096, ..QueryCache::default() };
        let kept = Kept::lay_with(db, Options { query_cache, ..Options::default() }).await;
        let old = kept.location("select note from item where id = 1").await;
        // Many others, until it is driven out.
        for id in 0..200 {
            let body = json!({"sql": "select repeat('x', 400) as a, note from item where id = $1", "params": [id]});
            let answer = kept.post(&body).send().await.expect("an answer");
            let place = header(&answer, "location");
            assert_eq!(kept.get(&place).await.status(), StatusCode::OK, "the newest is there");
        }
        assert_eq!(kept.rows(&old).await, json!([{"note": "note 1"}]));
        kept.change("update api.item set note = 'new' where id = 1").await;
        for id in 0..200 {
            let body = json!({"sql": "select repeat('y', 400) as a, note from item where id = $1", "params": [id]});
            kept.post(&body).send().await.expect("an answer");
        }
        let gone = kept.get(&old).await;
        assert_eq!(gone.status(), StatusCode::GONE);
        let new = header(&gone, "location");
        assert_eq!(gone.json::<Value>().await.expect("JSON")["code"], "cursor_gone");
        assert_eq!(kept.rows(&new).await, json!([{"note": "new"}]));
        // Larger than an eighth of all: given out, and not kept.
        let large = kept.ask("select repeat('x', 5000) as a").await;
        assert_eq!((large.status(), &*header(&large, "cache-control")), (StatusCode::OK, "no-store"));

        for nonsense in [
            "/q/x/y".to_owned(),
            format!("{new}0"),
            new.replace("/q/", "/q/0"),
            format!("/q/{}/{}", "0".repeat(63), "0-0-0"),
            "/q/%0a/%0d".to_owned(),
        ] {
            assert_eq!(kept.get(&nonsense).await.status(), StatusCode::NOT_FOUND, "{nonsense}");
        }
        let (hash, version) = new["/q/".len()..].split_once('/').expect("two parts");
        let other = format!("{}{}", if hash.starts_with('0') { '1' } else { '0' }, &hash[1..]);
        let unknown = kept.get(&format!("/q/{other}/{version}")).await;
        assert_eq!(unknown.status(), StatusCode::GONE);
        assert_eq!(header(&unknown, "location"), "");
    })
    .await;
}

/// Another process, or this one after a restart, gives the same bytes at the address or says where to go.
#[tokio::test]
async fn addresses_outlive_the_process() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let sql = "select note from item where id = $1";
        let body = json!({"sql": sql, "params": [3]});
        let place = header(
            &kept.post(&body).send().await.expect("an answer"),
            "location",
        );
        let owner = db.superuser().await;
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
        tokio::time::timeout(Duration::from_secs(20), stored)
            .await
            .expect("written down");
        // One that follows nothing: it keeps nothing, and makes it again.
        let other = crate::harness::Gateway::start(db).await;
        let url = |path: &str| format!("http://{}{path}", other.address);
        let answer = kept
            .client
            .get(url(&place))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "cache-control"), "public, max-age=259200");
        assert_eq!(
            answer.text().await.expect("text"),
            "[{\"note\":\"note 3\"}]"
        );
        kept.change("update api.item set note = 'new' where id = 3")
            .await;
        let answer = kept
            .client
            .get(url(&place))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::GONE);
        let post = kept
            .client
            .post(url("/query"))
            .header("content-type", "application/json")
            .body(body.to_string());
        let once = post.send().await.expect("an answer");
        assert_eq!(
            (once.status(), &*header(&once, "cache-control")),
            (StatusCode::OK, "no-store")
        );
    })
    .await;
}

/// A call says in which transaction it has written.
#[tokio::test]
async fn a_call_says_what_to_read_after_it() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let body = json!({"sql": "select note from item where id = 6"});
        let token = &kept.setting.token;
        for number in 0..20 {
            let note = format!("by call {number}");
            let arguments = json!({"of_item": 6, "words": note}).to_string();
            let called = kept
                .setting
                .gateway
                .post("/renote", Some(token), &arguments)
                .send()
                .await;
            let called = called.expect("an answer");
            assert!(called.status().is_success(), "{}", called.status());
            let txid = header(&called, "rolegate-txid");
            let asked = kept.post(&body).header("rolegate-txid", txid);
            let answer = asked.header("prefer", "return=representation").send().await;
            let text = answer.expect("an answer").text().await.expect("text");
            assert_eq!(text, format!("[{{\"note\":\"{note}\"}}]"));
        }
        let read = kept
            .setting
            .gateway
            .post("/reads", Some(token), "{}")
            .send()
            .await;
        assert_eq!(header(&read.expect("an answer"), "rolegate-txid"), "");
        let dry =
            kept.setting
                .gateway
                .post("/renote", Some(token), r#"{"of_item": 6, "words": "x"}"#);
        let dry = dry
            .header("prefer", "tx=rollback")
            .send()
            .await
            .expect("an answer");
        assert!(dry.status().is_success());
        assert_eq!(header(&dry, "rolegate-txid"), "");
    })
    .await;
}

/// A write is seen by who says that he has made it, whatever is kept.
#[tokio::test]
async fn who_wrote_reads_what_he_wrote() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let owner = db.superuser().await;
        let body = json!({"sql": "select note from item where id = 5"});
        for number in 0..30 {
            let note = format!("written {number}");
            let (name, value) = if number % 2 == 0 {
                let sql = "with w as (update api.item set note = $1 where id = 5 returning 1) \
                           select pg_current_xact_id()::text from w";
                let row = owner.query_one(sql, &[&note]).await.expect("written");
                ("rolegate-txid", row.get::<_, String>(0))
            } else {
                owner
                    .execute("update api.item set note = $1 where id = 5", &[&note])
                    .await
                    .expect("written");
                let row = owner
                    .query_one("select pg_current_wal_insert_lsn()::text", &[])
                    .await;
                ("rolegate-min-lsn", row.expect("a position").get(0))
            };
            let asked = kept
                .post(&body)
                .header(name, value)
                .header("prefer", "return=representation");
            let answer = asked.send().await.expect("an answer");
            let rows: Value =
                serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
            assert_eq!(rows, json!([{"note": note}]), "{name}");
        }
        for (name, value, code) in [
            ("rolegate-min-lsn", "x", 400),
            ("rolegate-txid", "-1", 400),
            ("rolegate-min-lsn", "FFFFFFFF/0", 400),
            ("rolegate-txid", "18446744073709551615", 400),
        ] {
            let answer = kept
                .post(&body)
                .header(name, value)
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status().as_u16(), code, "{name}: {value}");
        }
    })
    .await;
}

/// Eight clients, each with its own row, while rows change: nobody gets another one's, or one that is older than
/// what it has seen.
#[tokio::test]
async fn everybody_gets_the_row_he_asks_for() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        kept.run("create table api.counted (id int primary key, n int not null); grant select on api.counted to public;
                  insert into api.counted select g, 0 from generate_series(1, 8) g").await;
        publish(db).await;
        let writer = db.superuser().await;
        let write = async {
            for n in 1..=200 {
                writer.execute("update api.counted set n = $1 where id = $2", &[&n, &(n % 8 + 1)]).await.expect("written");
            }
        };
        let readers = (1..=8).map(|id| {
            let kept = &kept;
            async move {
                let body = json!({"sql": "select id, n from counted where id = $1", "params": [id]});
                let mut last = 0;
                let mut bodies = std::collections::HashMap::new();
                for _ in 0..60 {
                    let answer = kept.post(&body).header("prefer", "return=representation").send().await.expect("an answer");
                    let place = header(&answer, "content-location");
                    let text = answer.text().await.expect("text");
                    let rows: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(rows[0]["id"], id);
                    let n = rows[0]["n"].as_i64().expect("a number");
                    assert!(n >= last, "{n} after {last}");
                    last = n;
                    if !place.is_empty() {
                        assert_eq!(bodies.entry(place).or_insert_with(|| text.clone()), &text);
                    }
                }
            }
        });
        tokio::join!(write, futures_util::future::join_all(readers));
        for id in 1..=8 {
            kept.change("insert into api.item (id) select max(id) + 1 from api.item").await;
            let body = json!({"sql": "select id, n from counted where id = $1", "params": [id]});
            let answer = kept.post(&body).header("prefer", "return=representation").send().await.expect("an answer");
            let rows: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
            let row = writer.query_one("select n from api.counted where id = $1", &[&id]).await.expect("a row");
            assert_eq!(rows, json!([{"id": id, "n": row.get::<_, i32>(0)}]));
        }
    })
    .await;
}
