//! Statements that a caller's dynamic SQL may try, and claims it may forge.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::sessions::{RUN, run};
use super::{MODES, tenants};
use crate::harness::{code, outcome, text};

#[tokio::test]
async fn dangerous_statements_are_refused_by_the_database() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |demo, _| {
                format!(
                    "{RUN} create table api.demos (text text); grant all on api.demos to \"{demo}\""
                )
            })
            .await;
            let statements = [
                "commit",
                "rollback",
                "begin",
                "insert into api.demos values ('x'); commit",
                "rollback; drop table api.demos",
                "set transaction read write; commit",
                "create role planted superuser",
                "alter role current_user superuser",
                "alter system set log_statement = 'none'",
                "grant rolegate_gateway to current_user",
                "create table api.mine ()",
                "create temp table mine ()",
                "create schema mine",
                "create function api.mine() returns int language sql as 'select 1'",
                "create extension dblink",
                "drop schema api cascade",
                "copy (select 1) to program 'true'",
                "copy api.demos from program 'true'",
                "copy api.demos from '/etc/hostname'",
                "select pg_read_file('PG_VERSION')",
                "select pg_ls_dir('.')",
                "select lo_create(0)",
                "select lo_import('/etc/hostname')",
                "select pg_advisory_lock(1)",
                "select pg_logical_emit_message(true, 'a', 'b')",
                "select pg_terminate_backend(pid) from pg_stat_activity",
                "select pg_cancel_backend(pid) from pg_stat_activity",
                "select pg_stat_reset()",
                "select pg_reload_conf()",
                "select * from rolegate.api_token",
                "select * from rolegate.claim_key",
                "select * from rolegate.claim_signing_key()",
                "select * from rolegate.signing_keys()",
                "select rolegate.mint_api_token(current_user::text)",
                "select rolegate.declare_safe('api.run(text)')",
                "select * from pg_authid",
            ];
            for sql in statements {
                let (status, body) = run(&tenants.gateway, &tenants.demo_token, "run", sql).await;
                assert_ne!(status, 200, "{mode:?} {sql}: {body}");
                assert!(
                    !body.contains("token_hash") && !body.contains("superuser"),
                    "{sql}: {body}"
                );
            }
            let rows = "select count(*) from api.demos";
            let rows: i64 = db
                .superuser()
                .await
                .query_one(rows, &[])
                .await
                .expect("a row")
                .get(0);
            assert_eq!(rows, 0, "{mode:?}: something was committed");
            // The session is as good as new.
            let (status, body) =
                run(&tenants.gateway, &tenants.demo_token, "run", "select 1").await;
            assert_eq!((status, body), (200, json!(tenants.demo).to_string()));
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_called_with_get_writes_nothing() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |demo, _| {
                format!(
                    "create table api.demos (text text); grant all on api.demos to \"{demo}\"; \
                     create function api.lies(statement text) returns text language plpgsql stable as \
                     $$begin execute statement; return 'done'; end$$; \
                     create function api.writes() returns void language sql volatile as \
                     $$insert into api.demos values ('x')$$; \
                     select rolegate.declare_safe('api.lies(text)')"
                )
            })
            .await;
            let (gateway, token) = (&tenants.gateway, Some(tenants.demo_token.as_str()));
            for sql in [
                "insert into api.demos values ('x')",
                "set transaction read write; insert into api.demos values ('x')",
                "set transaction_read_only = off; insert into api.demos values ('x')",
                "select set_config('transaction_read_only', 'off', true); insert into api.demos values ('x')",
            ] {
                let sql = utf8_percent_encode(sql, NON_ALPHANUMERIC);
                let (status, body) = text(gateway.get(&format!("/lies?statement={sql}"), token)).await;
                assert!(!status.is_success(), "{mode:?} {sql}: {body}");
            }
            let (status, code, _) = outcome(gateway.get("/writes", token)).await;
            assert_eq!((status, code.as_str()), (405, "method_not_allowed"));
            let rows = "select count(*) from api.demos";
            let rows: i64 =
                db.superuser().await.query_one(rows, &[]).await.expect("a row").get(0);
            assert_eq!(rows, 0, "{mode:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn claims_cannot_be_forged_nor_taken_from_another_call() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |_, _| RUN.to_owned()).await;
            let gateway = &tenants.gateway;
            let claim = "select rolegate.claim('role')";
            let (_, body) = run(gateway, &tenants.bob_token, "read", claim).await;
            assert_eq!(body, json!(tenants.bob).to_string());
            let signed = "select pg_catalog.current_setting('rolegate.signed_claims')";
            let (_, body) = run(gateway, &tenants.demo_token, "read", signed).await;
            let of_demo: String = serde_json::from_str(&body).expect("a text");
            assert!(of_demo.starts_with("v1|"), "{of_demo}");

            let plain = "do $do$begin perform set_config('request.jwt.claims', '{\"role\":\"postgres\"}', true); \
                if rolegate.claim('role') = 'postgres' then raise exception 'forged'; end if; end$do$";
            let (_, body) = run(gateway, &tenants.bob_token, "run", plain).await;
            assert!(!body.contains("forged"), "{mode:?}: {body}");

            let changed = of_demo.replacen("\"role\"", "\"rule\"", 1);
            assert_ne!(changed, of_demo);
            for (token, envelope) in [
                (&tenants.bob_token, of_demo.as_str()),
                (&tenants.demo_token, changed.as_str()),
                (&tenants.bob_token, "v1|1|1|1|0|0|0|{\"role\":\"postgres\"}"),
                (&tenants.bob_token, "nonsense"),
            ] {
                let sql = format!(
                    "do $do$begin perform set_config('rolegate.signed_claims', {}, true); \
                     perform rolegate.claims(); raise exception 'they verify'; end$do$",
                    rolegate_pg::quote::literal(envelope)
                );
                let (status, body) = run(gateway, token, "run", &sql).await;
                assert_ne!(status, 200, "{mode:?} {envelope}: {body}");
                assert!(!body.contains("they verify"), "{mode:?} {envelope}: {body}");
                assert_ne!(code(&body), "internal", "{body}");
            }
        }
    })
    .await;
}
