//! What depends on the caller, and what callers without a token are told.

use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::Setting;
use crate::harness::{Options, outcome};

const MORE: &str = "
    grant usage on schema rolegate to public;
    create function api.mine() returns text language sql stable as 'select current_user::text';
    create view api.me as select current_user::text as name;
    create view api.claimed as select o.id from api.open o where rolegate.claim('sub') is not null;
    create view api.whose as select api.mine() as name;
    grant select on api.me, api.claimed, api.whose to public;
    create schema private;
    create function private.secret_fn(int) returns int language sql stable as 'select $1';
    create table private.hoard (id int);
    insert into private.hoard values (1);
    create view api.shown as select id, now() as at, private.secret_fn(id) as b from private.hoard;
    create view api.plainly as select id from private.hoard;
    grant usage on schema private to \"member\";
    grant select on api.shown, api.plainly to public;
";

/// The anonymous role's answer is not that of somebody with a token.
#[tokio::test]
async fn what_depends_on_the_caller_is_answered_for_his_role() {
    for_each_version(async |db| {
        let setting = Setting::lay_more(
            db,
            Options::default(),
            &MORE.replace("\"member\"", "public"),
        )
        .await;
        let member = setting.member.clone();
        for (sql, theirs) in [
            (
                "select current_user::text as name",
                json!([{"name": member}]),
            ),
            ("select name from me", json!([{"name": member}])),
            ("select name from whose", json!([{"name": member}])),
            ("select mine() as name", json!([{"name": member}])),
            (
                "select id from claimed order by id",
                json!([{"id": 1}, {"id": 2}]),
            ),
            (
                "select id from open where rolegate.claim('sub') is not null order by id",
                json!([{"id": 1}, {"id": 2}]),
            ),
        ] {
            let asked = setting.ask(Some(&setting.token), &json!({"sql": sql}));
            let answer = asked.send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{sql}");
            assert_eq!(answer.headers()["rolegate-scope"], "private", "{sql}");
            assert_eq!(
                answer.headers()["cache-control"],
                "private, no-store",
                "{sql}"
            );
            let rows: Value = answer.json().await.expect("JSON");
            assert_eq!(rows, theirs, "{sql}");
            let (status, _, body) = setting.anonymous(sql).await;
            assert_eq!(status, 200, "{sql}: {body}");
            assert!(
                body.contains("rolegate_anonymous") || body.trim() == "[]",
                "{sql}: {body}"
            );
        }
        // What depends on the time is everybody's.
        let asked = setting.ask(
            Some(&setting.token),
            &json!({"sql": "select id, now() as at from open"}),
        );
        let answer = asked.send().await.expect("an answer");
        assert_eq!(answer.headers()["rolegate-scope"], "public");
    })
    .await;
}

/// Names that are used for something else are no question, and what is behind a view is not told.
#[tokio::test]
async fn aliases_and_explanations_tell_nothing() {
    for_each_version(async |db| {
        let more = MORE.replace("grant usage on schema private to \"member\";", "");
        let setting = Setting::lay_more(db, Options::default(), &more).await;
        for sql in [
            "select a from (values (1)) closed(a)",
            "select closed.a from (values (1)) as closed(a)",
            "with closed(a) as (select 1) select a from closed",
            "with x as (select 1), closed(a) as materialized (select 1) select a from closed",
            "select v.closed from (values (1)) v(closed)",
            "select v.closed from unnest(array[1]) v(closed)",
            "select closed from unnest(array[1]) closed",
        ] {
            let (status, _, body) = setting.anonymous(sql).await;
            assert_eq!(status, 200, "{sql}: {body}");
            let not_there = sql.replace("closed", "nowhere");
            let (status, _, body) = setting.anonymous(&not_there).await;
            assert_eq!(status, 200, "{not_there}: {body}");
        }
        let explain = async |token: Option<&str>, sql: &str| -> (u16, String) {
            let url = format!("http://{}/query/explain", setting.gateway.address);
            let mut request = setting.gateway.client.post(url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let request = request.header("content-type", "application/json");
            let (status, _, body) = outcome(request.body(json!({"sql": sql}).to_string())).await;
            (status, body)
        };
        for sql in [
            "select id from plainly",
            "select id from plainly hoard",
            "select a from (values (1)) secret_fn(a)",
        ] {
            let (status, body) = explain(None, sql).await;
            assert_eq!(status, 200, "{sql}: {body}");
            assert!(
                !body.contains("private.") && !body.contains("hoard\""),
                "{sql}: {body}"
            );
        }
        let (_, body) = explain(None, "select a from (values (1)) secret_fn(a)").await;
        assert!(body.contains("\"can_be_kept\":true"), "{body}");
        let (_, body) = explain(None, "select id from plainly").await;
        assert!(body.contains("\"reads\":[\"api.plainly\"]"), "{body}");
        let (status, body) = explain(Some(&setting.token), "select id from plainly").await;
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("private.hoard"), "{body}");
        let (_, body) = explain(None, "select id from open").await;
        assert!(body.contains("\"reads\":[\"api.open\"]"), "{body}");
    })
    .await;
}

/// What PostgreSQL would say about tables that are closed, or that a function of everybody's reads.
#[tokio::test]
async fn messages_tell_no_names_of_what_is_closed() {
    for_each_version(async |db| {
        let more = "
            create function api.inlined() returns text language sql stable as 'select secret from api.closed';
            create function api.called() returns text language plpgsql stable as
                'begin return (select secret from api.closed); end';
            create function api.broken() returns text language plpgsql stable as
                'begin return (select secret::int from api.closed); end';
            create function api.defined() returns text language plpgsql stable security definer as
                'begin return (select secret::int from api.closed); end';
            create function api.raised() returns setof api.closed language plpgsql stable as
                'begin return query select * from api.closed; end';";
        let setting = Setting::lay_more(db, Options::default(), more).await;
        for sql in [
            "select inlined() as a",
            "select called() as a",
            "select broken() as a",
            "select defined() as a",
            "select r.id from raised() r",
            "select r.nothing from raised() r",
            "select r from raised() r",
            // PostgreSQL would say which columns come near.
            "select secre from closed",
            "select c.secre from closed c",
            "select open.secret from open, closed",
            "select secret from open",
            "select id from open, closed",
            "select secret_o(o) as a from open o",
            "select o.secret_o from open o",
        ] {
            let url = format!("http://{}/query/explain", setting.gateway.address);
            let explained = setting.gateway.client.post(url).json(&json!({"sql": sql}));
            for (status, _, body) in [setting.anonymous(sql).await, outcome(explained).await] {
                let told = ["closed", "secret", "treasure", "secre", "raised"];
                let explains = status == 200 && body.contains("why_not_kept");
                assert!(status >= 400 || explains, "{sql}: {body}");
                assert!(explains || !told.iter().any(|name| body.contains(name)), "{sql}: {body}");
                assert!(!body.contains("treasure") && !body.contains("api.closed"), "{sql}: {body}");
            }
        }
    })
    .await;
}
