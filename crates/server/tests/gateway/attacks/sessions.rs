//! What a caller leaves behind, and ways out of the role.

use reqwest::StatusCode;
use rolegate_server::config::Mode;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::{MODES, tenants};
use crate::harness::{Gateway, code, outcome};

/// `api.run(sql)` runs a text, as functions with dynamic SQL do. In assume mode it runs only
/// because an operator said that it is safe, which is the worst case.
pub(crate) const RUN: &str = "create function api.run(statement text) returns text language plpgsql volatile as \
    $$begin execute statement; return current_user; end$$; \
    create function api.read(statement text) returns text language plpgsql volatile as \
    $$declare found text; begin execute statement into found; return found; end$$; \
    select rolegate.declare_safe('api.run(text)'); select rolegate.declare_safe('api.read(text)');";

pub(crate) async fn run(
    gateway: &Gateway,
    token: &str,
    function: &str,
    sql: &str,
) -> (u16, String) {
    let (status, body) = gateway
        .call(token, function, &json!({"statement": sql}).to_string())
        .await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn nothing_a_caller_leaves_behind_reaches_the_next_one() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |_, _| RUN.to_owned()).await;
            db.superuser()
                .await
                .batch_execute(&format!(
                    "grant temporary on database \"{}\" to public; \
                     grant execute on all functions in schema pg_catalog to public; \
                     create sequence if not exists api.numbers; grant all on api.numbers to public",
                    db.name()
                ))
                .await
                .expect("everything that is switched off by default is on");
            // In assume mode bob comes next on demo's connection; in login mode demo's next call
            // does, with another token perhaps.
            let (gateway, demo) = (&tenants.gateway, tenants.demo_token.as_str());
            let next = match mode {
                Mode::Login => demo,
                Mode::Assume => tenants.bob_token.as_str(),
            };
            let pid = "select pg_catalog.pg_backend_pid()::text";
            let left: [(&str, &str, &str); 12] = [
                ("create temp table todo (text text); grant all on todo to public",
                 "select count(*)::text from pg_catalog.pg_class where relname = 'todo'", "\"0\""),
                ("select set_config('app.tenant', 'demo', false)",
                 "select coalesce(nullif(current_setting('app.tenant', true), ''), 'unset')", "\"unset\""),
                ("set session statement_timeout = 0",
                 "select (current_setting('statement_timeout') <> '0')::text", "\"true\""),
                ("set session search_path = pg_catalog",
                 "select current_setting('search_path')", "\"\\\"api\\\", pg_temp\""),
                ("set session default_transaction_read_only = on",
                 "select current_setting('default_transaction_read_only')", "\"off\""),
                ("select pg_advisory_lock(42)",
                 "select count(*)::text from pg_catalog.pg_locks where locktype = 'advisory' and objid = 42", "\"0\""),
                ("prepare planted as select 1",
                 "select count(*)::text from pg_catalog.pg_prepared_statements where name = 'planted'", "\"0\""),
                ("declare planted cursor with hold for select 1",
                 "select count(*)::text from pg_catalog.pg_cursors where name = 'planted'", "\"0\""),
                ("listen planted",
                 "select count(*)::text from pg_catalog.pg_listening_channels() c where c = 'planted'", "\"0\""),
                ("select nextval('api.numbers')",
                 "select (pg_catalog.pg_sequence_last_value('api.numbers'::regclass) is not null)::text", "\"true\""),
                ("select set_config('request.jwt.claims', '{\"role\":\"postgres\"}', false)",
                 "select (current_setting('request.jwt.claims') like '%postgres%')::text", "\"false\""),
                ("select set_config('rolegate.signed_claims', 'planted', false)",
                 "select (rolegate.claims() is not null)::text", "\"true\""),
            ];
            for (leave, look, expected) in left {
                let before = run(gateway, demo, "read", pid).await;
                let (status, body) = run(gateway, demo, "run", leave).await;
                // Some are refused as a change of identity already; what counts is what is left.
                assert!(status == 200 || status == 403, "{mode:?} {leave}: {status} {body}");
                let (status, body) = run(gateway, next, "read", look).await;
                assert_eq!((status, body.as_str()), (200, expected), "{mode:?} {leave}");
                let after = run(gateway, next, "read", pid).await;
                assert_eq!(before.0, 200, "{}", before.1);
                assert_eq!(after.0, 200, "{}", after.1);
            }
            // `currval` of the other one's `nextval` is unknown.
            run(gateway, demo, "run", "select nextval('api.numbers')").await;
            let (status, body) = run(gateway, next, "read", "select currval('api.numbers')::text").await;
            assert_ne!(status, 200, "{body}");
            // And it was one and the same connection all the time, where nothing forced another.
            let first = run(gateway, demo, "read", pid).await;
            run(gateway, demo, "run", "select set_config('app.tenant', 'demo', false)").await;
            assert_eq!(run(gateway, next, "read", pid).await, first, "{mode:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn no_way_out_of_the_role_commits_anything_or_lasts() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |demo, bob| {
                format!(
                    "{RUN} create table api.bobs (text text); insert into api.bobs values ('bobs secret'); \
                     grant select, insert on api.bobs to \"{bob}\"; \
                     create table api.demos (text text); grant all on api.demos to \"{demo}\""
                )
            })
            .await;
            let (gateway, demo, bob) =
                (&tenants.gateway, tenants.demo_token.as_str(), &tenants.bob);
            let ways = [
                "reset role".to_owned(),
                "set role none".to_owned(),
                "set role \"none\"".to_owned(),
                format!("set role \"{bob}\""),
                format!("set local role \"{bob}\""),
                format!("select set_config('role', '{bob}', true)"),
                format!("select set_config('role', '{bob}', false)"),
                "select set_config('role', 'none', true)".to_owned(),
                "do $do$begin execute 'reset role'; end$do$".to_owned(),
                "reset session authorization".to_owned(),
                "set session authorization default".to_owned(),
                format!("set session authorization \"{bob}\""),
                format!("select query_to_xml('set role \"{bob}\"', true, true, '')"),
            ];
            for way in &ways {
                let sql = format!("insert into api.demos values ('x'); {way}; insert into api.bobs values ('planted')");
                let (status, body) = run(gateway, demo, "run", &sql).await;
                assert_ne!(status, 200, "{mode:?} {way}: {body}");
                assert!(!body.contains("secret"), "{body}");
                // Even without a forbidden write: whoever leaves the role in assume mode gets
                // nothing back.
                let read = format!("with w as (select 1) select current_user::text /* {way} */");
                let (status, body) = run(gateway, demo, "read", &read).await;
                assert_eq!((status, body), (200, json!(tenants.demo).to_string()), "{mode:?} {way}");
            }
            let (status, body) = run(gateway, demo, "run", &format!("set role \"{bob}\"")).await;
            if mode == Mode::Assume {
                assert_eq!((status, code(&body).as_str()), (403, "identity_changed"), "{body}");
            } else {
                assert_eq!((status, code(&body).as_str()), (403, "permission_denied"), "{body}");
            }
            let superuser = db.superuser().await;
            let count = "select (select count(*) from api.bobs) * 1000 + (select count(*) from api.demos)";
            let rows: i64 = superuser.query_one(count, &[]).await.expect("a row").get(0);
            assert_eq!(rows, 1000, "{mode:?}: something was committed");
        }
    })
    .await;
}

#[tokio::test]
async fn dynamic_sql_needs_login_mode_until_it_is_declared_safe() {
    for_each_version(async |db| {
        let tenants = tenants(db, Mode::Assume, |_, _| {
            "create function api.run(statement text) returns text language plpgsql volatile as \
             $$begin execute statement; return current_user; end$$; \
             create function api.calls_run() returns text language sql volatile as \
             $$select api.run('select 1')$$; \
             create function api.xml(statement text) returns xml language sql immutable as \
             $$select pg_catalog.query_to_xml(statement, true, true, '')$$; \
             create function api.switch() returns text language sql stable as \
             $$select pg_catalog.set_config('role', 'none', true)$$; \
             create procedure api.commits() language plpgsql as $$begin commit; end$$; \
             create function api.plain() returns int language sql stable as 'select 1'"
                .to_owned()
        })
        .await;
        let (gateway, token) = (&tenants.gateway, tenants.demo_token.as_str());
        let refused = (403, "function_needs_login_mode");
        for (name, params) in [
            ("run", r#"{"statement": "select 1"}"#),
            ("calls_run", ""),
            ("xml", r#"{"statement": "select 1"}"#),
            ("switch", ""),
            ("commits", ""),
        ] {
            let (status, body) = gateway.call(token, name, params).await;
            assert_eq!(
                (status.as_u16(), code(&body).as_str()),
                refused,
                "{name}: {body}"
            );
        }
        assert_eq!(gateway.call(token, "plain", "").await.0, StatusCode::OK);
        let openapi = gateway
            .get("/openapi.json", Some(token))
            .send()
            .await
            .expect("an answer");
        let listed: Value = openapi.json().await.expect("JSON");
        let paths = listed["paths"].as_object().expect("an object");
        let paths: Vec<&str> = paths.keys().map(String::as_str).collect();
        assert!(
            paths.iter().any(|path| path.ends_with("/api.plain")),
            "{paths:?}"
        );
        for hidden in ["run", "xml", "switch", "commits"] {
            assert!(
                !paths.iter().any(|path| path.ends_with(hidden)),
                "{hidden}: {paths:?}"
            );
        }

        let becomes = async |expected: (u16, &str)| {
            let deadline = Instant::now() + Duration::from_secs(1);
            loop {
                let request = gateway.post("/run", Some(token), r#"{"statement": "select 1"}"#);
                let (status, code, body) = outcome(request).await;
                if (status, code.as_str()) == expected {
                    return;
                }
                assert!(
                    Instant::now() < deadline,
                    "not {expected:?}: {status} {body}"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let superuser = db.superuser().await;
        let declare = "select rolegate.declare_safe('api.run(text)')";
        superuser.batch_execute(declare).await.expect("declared");
        becomes((200, "ok")).await;
        // Another definition is another function.
        let change = "create or replace function api.run(statement text) returns text \
            language plpgsql volatile as $$begin execute statement; return 'changed'; end$$";
        superuser.batch_execute(change).await.expect("changed");
        becomes(refused).await;
        superuser.batch_execute(declare).await.expect("declared");
        becomes((200, "ok")).await;
        superuser
            .batch_execute("select rolegate.undeclare_safe('api.run(text)')")
            .await
            .expect("undeclared");
        becomes(refused).await;
    })
    .await;
}
