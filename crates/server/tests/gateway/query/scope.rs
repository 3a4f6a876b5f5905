//! Public and private.

use rolegate_server::config::Queries;
use rolegate_testkit::{Admitted, for_each_version};
use serde_json::{Value, json};

use super::Setting;
use crate::harness::{Options, outcome};

#[tokio::test]
async fn what_everybody_may_read_is_public_for_everybody() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        for token in [None, Some(setting.token.as_str())] {
            let body = json!({"sql": "select id, name, at from open order by id"});
            let answer = setting.ask(token, &body).send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), 200);
            assert_eq!(answer.headers()["rolegate-scope"], "public");
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert_eq!(
                answer.text().await.expect("a body"),
                "[{\"id\":1,\"name\":\"one\",\"at\":\"2026-01-01T10:00:00+00:00\"},\n\
                 {\"id\":2,\"name\":\"two\",\"at\":null}]"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_token_is_refused_for_public_rows_as_well() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        for token in ["nonsense", "a.b.c"] {
            let answer = setting.ask(Some(token), &json!({"sql": "select id from open"}));
            assert_eq!(
                answer.send().await.expect("an answer").status().as_u16(),
                401
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_not_everybody_may_read_is_private() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        for sql in [
            "select secret from closed",
            // Row-level security: an empty answer would be one for everybody.
            "select title from docs",
            "select o.id from open o join docs d on d.id = o.id",
            "select id from open where exists (select from docs)",
            // There is no such thing, and nobody learns it.
            "select id from nowhere",
            "select nothing from open",
            "select secret from closed where nothing",
            "select no_such_function(id) from open",
            // A schema without USAGE.
            "select id from back.granted",
        ] {
            let (status, code, body) = setting.anonymous(sql).await;
            assert_eq!((status, &*code), (401, "query_private"), "{sql}: {body}");
            assert!(
                !body.contains("treasure") && !body.contains("closed"),
                "{body}"
            );
        }
        assert_eq!(
            setting
                .rows(&json!({"sql": "select secret from closed"}))
                .await,
            json!([{"secret": "hidden treasure"}])
        );
        // A view is its owner's decision.
        let (status, _, body) = setting.anonymous("select secret from through").await;
        assert_eq!(status, 200, "{body}");
    })
    .await;
}

#[tokio::test]
async fn rows_are_those_of_the_callers_claims() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        // A token of ours has no organization.
        let none = setting
            .rows(&json!({"sql": "select id from docs order by id"}))
            .await;
        assert_eq!(none, json!([]));
        let (_, _, body) = setting
            .member("select set_config('request.jwt.claims', '{\"org\": 1}', true), id from docs")
            .await;
        assert!(body.contains("query_refused"), "{body}");
    })
    .await;
}

#[tokio::test]
async fn what_the_role_may_not_is_forbidden_and_said() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let (status, code, _) = setting.member("select id from back.granted").await;
        assert_eq!((status, &*code), (403, "permission_denied"));
        let (status, code, body) = setting.member("select id, nothing from open").await;
        assert_eq!((status, &*code), (422, "query_refused"), "{body}");
        assert!(
            body.contains("nothing") && body.contains("character 12"),
            "{body}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_right_that_is_given_or_taken_counts_at_once() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let sql = "select secret from closed";
        assert_eq!(setting.anonymous(sql).await.0, 401);
        let owner = db.superuser().await;
        for (change, status) in [
            ("grant select on api.closed to public", 200),
            ("revoke select on api.closed from public", 401),
            ("grant select on api.closed to public", 200),
            ("alter table api.closed enable row level security", 401),
            ("alter table api.closed disable row level security", 200),
            ("alter table api.closed rename column id to number", 200),
        ] {
            owner.batch_execute(change).await.expect("changed");
            let mut seen = 0;
            for _ in 0..500 {
                seen = setting.anonymous(sql).await.0;
                if seen == status {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            assert_eq!(seen, status, "{change}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_that_has_changed_is_looked_at_again() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let body = json!({"sql": "select * from open where id = 1"});
        // Twice: from the second time on the statement is prepared.
        for _ in 0..3 {
            setting.rows(&body).await;
        }
        let owner = db.superuser().await;
        let change = "alter table api.open drop column at, alter column id type text, add column more bool default true";
        owner.batch_execute(change).await.expect("changed");
        let body = json!({"sql": "select * from open where name = 'one'"});
        let rows = setting.rows(&body).await;
        assert_eq!(rows, json!([{"id": "1", "name": "one", "more": true}]));
        let body = json!({"sql": "select * from open where id = '1'"});
        for _ in 0..3 {
            assert_eq!(setting.rows(&body).await, rows);
            owner.batch_execute("alter table api.open rename more to most").await.expect("changed");
            let renamed: Value = setting.rows(&body).await;
            assert_eq!(renamed[0]["most"], true);
            owner.batch_execute("alter table api.open rename most to more").await.expect("changed");
        }
    })
    .await;
}

#[tokio::test]
async fn explain_says_why() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let explain = async |sql: &str| -> Value {
            let url = format!("http://{}/query/explain", setting.gateway.address);
            let request = setting.gateway.client.post(url).bearer_auth(&setting.token);
            let request = request.header("content-type", "application/json");
            let body = json!({"sql": sql}).to_string();
            let answer = request.body(body).send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), 200, "{sql}");
            answer.json().await.expect("JSON")
        };
        let public = explain("select id, now() from open").await;
        assert_eq!(public["scope"], "public");
        assert_eq!(public["runs_as"], "rolegate_anonymous");
        assert_eq!(public["reads"], json!(["api.open"]));
        assert!(
            public["why_not_kept"]
                .to_string()
                .contains("pg_catalog.now"),
            "{public}"
        );
        let secured = explain("select id from docs").await;
        assert_eq!(secured["scope"], "private");
        assert_eq!(secured["why_private"], "api.docs has row-level security");
        // What the policy reads is read too; a CTE shadows nothing that is named with its schema.
        let shadow = explain("with closed as (select 1) select c.* from api.closed c").await;
        assert_eq!(shadow["scope"], "private");
        assert_eq!(shadow["reads"], json!(["api.closed"]));
        let view = explain("select secret from through").await;
        assert_eq!(view["reads"], json!(["api.closed", "api.through"]));
        let never = explain("select id from open where false").await;
        assert_eq!(never["reads"], json!(["api.open"]));
    })
    .await;
}

#[tokio::test]
async fn queries_are_answered_as_far_as_they_are_switched_on() {
    for_each_version(async |db| {
        let options = Options {
            queries: Queries::Private,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        assert!(!setting.described(None).await);
        assert!(setting.described(Some(&setting.token)).await);
        let (_, code, _) = setting.anonymous("select id from open").await;
        assert_eq!(code, "query_private");
        let answer = setting.ask(Some(&setting.token), &json!({"sql": "select id from open"}));
        let answer = answer.send().await.expect("an answer");
        assert_eq!(answer.headers()["rolegate-scope"], "private");
        assert_eq!(answer.headers()["cache-control"], "private, no-store");
        let options = Options {
            queries: Queries::Off,
            ..Options::default()
        };
        let off = crate::harness::Gateway::start_with(db, options).await;
        let setting = Setting {
            gateway: off,
            token: setting.token,
            member: setting.member,
        };
        for token in [None, Some(&*setting.token)] {
            assert!(!setting.described(token).await);
        }
        for (_, code, _) in [
            setting.anonymous("select id from open").await,
            setting.member("select id from open").await,
        ] {
            assert_eq!(code, "not_found");
        }
    })
    .await;
}

#[tokio::test]
async fn catalogs_can_be_opened_one_by_one() {
    for_each_version(async |db| {
        let options = Options {
            query_catalogs: vec!["pg_catalog.pg_timezone_names".to_owned()],
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let sql = "select count(*) > 0 as some from pg_timezone_names";
        let (status, _, body) = setting.anonymous(sql).await;
        assert_eq!((status, &*body), (200, "[{\"some\":true}]"));
        let (_, code, _) = setting.anonymous("select count(*) from pg_class").await;
        assert_eq!(code, "query_refused");
    })
    .await;
}

#[tokio::test]
async fn a_token_for_some_functions_is_none_for_their_tables() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        assert!(setting.described(None).await, "some are public");
        let operator = db
            .create_role_with(
                "operator",
                &format!(
                    "login in role rolegate_operator, rolegate_admitted, \"{}\"",
                    setting.member
                ),
                Admitted::No,
            )
            .await;
        db.list_in_peer_map(&[&operator]).await;
        let operator = db.connect_as(&operator).await;
        for (scopes, status) in [
            (r#"{"functions": ["api.read_*"]}"#, 403),
            (r#"{"surfaces": ["calls", "events"]}"#, 403),
            (r#"{"surfaces": ["query"]}"#, 200),
            (r#"{"functions": [], "surfaces": ["query"]}"#, 200),
        ] {
            let mint = "select token from rolegate.mint_api_token($1, scopes => $2::text::jsonb)";
            let row = operator.query_one(mint, &[&setting.member, &scopes]).await;
            let token: String = row.expect("a token").get(0);
            assert_eq!(setting.described(Some(&token)).await, status == 200);
            for sql in ["select secret from closed", "select id from open"] {
                let answer = outcome(setting.ask(Some(&token), &json!({"sql": sql}))).await;
                assert_eq!(answer.0, status, "{scopes}: {answer:?}");
            }
        }
    })
    .await;
}
