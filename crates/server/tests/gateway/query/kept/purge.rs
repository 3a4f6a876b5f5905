//! By what copies of answers are purged elsewhere.

use reqwest::{Response, StatusCode};
use rolegate_query::PurgeKeys;
use rolegate_server::config::PurgeHeader;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::json;

use super::{Kept, header};
use crate::harness::{Gateway, Options};

fn keys() -> PurgeKeys {
    // The name that the harness configures the database by.
    PurgeKeys::new(&[7; 32], "app")
}

fn options() -> Options {
    let header = PurgeHeader::new("Surrogate-Key", keys());
    Options {
        purge_header: Some(header.expect("a name")),
        ..Options::default()
    }
}

/// The keys of an answer, those of relations in order.
fn said(answer: &Response) -> Vec<String> {
    let said = header(answer, "surrogate-key");
    let mut said: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    if let Some(relations) = said.get_mut(1..) {
        relations.sort();
    }
    said
}

fn of(relations: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = relations
        .iter()
        .map(|name| keys().of_relation("api", name))
        .collect();
    all.sort();
    all.insert(0, keys().of_database());
    all
}

/// The keys of a query's answer, once it is kept: definitions change, also by other tests.
async fn said_of(kept: &Kept<'_>, sql: &str) -> Vec<String> {
    for _ in 0..10 {
        let place = header(&kept.ask(sql).await, "location");
        if place.is_empty() {
            continue;
        }
        let answer = kept.get(&place).await;
        if answer.status() == StatusCode::OK {
            return said(&answer);
        }
    }
    panic!("{sql} is never kept");
}

async fn lay(db: &TestDatabase) -> Kept<'_> {
    Kept::lay_with(db, options()).await
}

#[tokio::test]
async fn an_answer_that_others_may_keep_says_by_what_it_is_purged() {
    for_each_version(async |db| {
        let kept = lay(db).await;
        for (sql, relations) in [
            ("select 1 as one", &[][..]),
            ("select name from open", &["open"]),
            ("select note from items", &["item", "items"]),
            ("select 1 as a from item, open", &["item", "open"]),
            // What is behind a view has a key that tells nothing.
            ("select secret from through", &["closed", "through"]),
            ("select id from split where part = 1", &["split", "split_1"]),
        ] {
            let place = kept.location(sql).await;
            let answer = kept.get(&place).await;
            assert_eq!(said(&answer), of(relations), "{sql}");
            let etag = header(&answer, "etag");
            let same = kept.client.get(kept.url(&place));
            let same = same.header("if-none-match", etag).send().await;
            let same = same.expect("an answer");
            assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(said(&same), of(relations), "{sql}");
            let get = format!("/query?sql={}", sql.replace(' ', "+"));
            let get = kept.get(&get).await;
            assert!(header(&get, "cache-control").contains("public"), "{sql}");
            assert_eq!(said(&get), of(relations), "{sql}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_nobody_may_keep_says_nothing() {
    for_each_version(async |db| {
        let kept = lay(db).await;
        let none = Vec::<String>::new();
        let body = json!({"sql": "select note from item where id = 1"});
        let moved = kept.post(&body).send().await.expect("an answer");
        assert_eq!(moved.status(), StatusCode::SEE_OTHER);
        assert_eq!(said(&moved), none);
        let whole = kept.post(&body).header("prefer", "return=representation");
        let whole = whole.send().await.expect("an answer");
        assert_eq!(whole.status(), StatusCode::OK);
        assert_eq!(said(&whole), none);
        let own = kept.client.get(kept.url("/query?sql=select+id+from+item"));
        let own = own.header("rolegate-min-lsn", "0/1").send().await;
        assert_eq!(said(&own.expect("an answer")), none);
        let moment = kept.get("/query?sql=select+now()+as+a").await;
        assert_eq!(header(&moment, "cache-control"), "no-store");
        assert_eq!(said(&moment), none);
        let private = kept.client.get(kept.url("/query?sql=select+id+from+docs"));
        let private = private.bearer_auth(&kept.setting.token).send().await;
        let private = private.expect("an answer");
        assert_eq!(header(&private, "cache-control"), "private, no-store");
        assert_eq!(said(&private), none);
    })
    .await;
}

/// A table's key reaches its answers only if it stands there: who purges it purges this one as well.
#[tokio::test]
async fn an_answer_of_very_many_tables_has_one_key_for_them() {
    for_each_version(async |db| {
        let kept = lay(db).await;
        let views = 0..PurgeKeys::MOST;
        let made = views.clone().map(|n| {
            format!(
                "create view api.v{n} as select id from api.item where id = {n};
                 grant select on api.v{n} to public;"
            )
        });
        let made = made.collect::<Vec<_>>().concat();
        kept.run(&made).await;
        // Each of them, and their table.
        let each: Vec<String> = views.map(|n| format!("select id from v{n}")).collect();
        let most = said_of(&kept, &each[1..].join(" union all ")).await;
        assert_eq!(most.len(), 1 + PurgeKeys::MOST);
        let more = said_of(&kept, &each.join(" union all ")).await;
        let many = vec![keys().of_database(), keys().of_many()];
        assert_eq!(more, many);
    })
    .await;
}

/// A copy outlives the process that gave it.
#[tokio::test]
async fn every_process_says_the_same() {
    for_each_version(async |db| {
        let kept = lay(db).await;
        let place = kept.location("select note from item where id = 2").await;
        kept.wait_written_down().await;
        // It follows nothing, and makes the answer again.
        let other = Gateway::start_with(db, options()).await;
        let url = format!("http://{}{place}", other.address);
        let answer = kept.client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "cache-control"), "public, max-age=259200");
        assert_eq!(said(&answer), of(&["item"]));
    })
    .await;
}
