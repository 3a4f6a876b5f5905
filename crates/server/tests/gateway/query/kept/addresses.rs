//! Where an answer is, in which forms it comes, and what has no address.

use reqwest::StatusCode;
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::{Kept, header};

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
        // A shared cache does not give it to who asks for what he wrote, nor his answer to others.
        let vary = get.headers().get_all("vary").iter();
        let vary: Vec<_> = vary.filter_map(|value| value.to_str().ok()).collect();
        assert!(
            vary.join(", ").contains("rolegate-min-lsn, rolegate-txid"),
            "{vary:?}"
        );
        assert!(!vary.join(", ").contains("authorization"), "{vary:?}");
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
