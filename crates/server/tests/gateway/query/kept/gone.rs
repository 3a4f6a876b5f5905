//! Addresses whose answers are not held any more.

use reqwest::StatusCode;
use rolegate_server::config::QueryCache;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::super::Setting;
use super::{Kept, header};
use crate::harness::{Gateway, Options};

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
        kept.wait_written_down().await;
        // One that follows nothing: it keeps nothing, and makes it again.
        let other = Gateway::start(db).await;
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

/// What was called something before the process ended is never called so with other bytes.
#[tokio::test]
async fn a_restart_gives_no_name_twice() {
    for_each_version(async |db| {
        let mut kept = Kept::lay(db).await;
        let sql = "select note from item where id = 1";
        let mut bodies = std::collections::HashMap::new();
        // Back and forth between the same bytes.
        for round in 0..4 {
            for note in ["a", "b", "a"] {
                kept.change(&format!("update api.item set note = '{note}' where id = 1"))
                    .await;
                let place = kept.location(sql).await;
                let rows = json!([{"note": note}]);
                assert_eq!(
                    *bodies.entry(place).or_insert_with(|| rows.clone()),
                    rows,
                    "{round}"
                );
            }
            let Setting {
                gateway,
                token,
                member,
            } = kept.setting;
            drop(gateway);
            // While nobody reads.
            let owner = db.superuser().await;
            let unseen = "update api.item set note = 'unseen' where id = 1";
            owner.batch_execute(unseen).await.expect("written");
            let options = Options {
                follow: true,
                ..Options::default()
            };
            let gateway = Gateway::start_with(db, options).await;
            kept.setting = Setting {
                gateway,
                token,
                member,
            };
            // From here on something is kept.
            assert_eq!(kept.rows_of(sql).await, json!([{"note": "unseen"}]));
            for (place, rows) in &bodies {
                if let Some(there) = kept.rows_if_kept(place).await {
                    assert_eq!(there, *rows, "{place}");
                }
            }
        }
    })
    .await;
}
