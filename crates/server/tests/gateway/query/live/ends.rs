//! How streams end, and what they go on through.

use std::time::Duration;

use rolegate_model::RoleName;
use rolegate_server::config::GatewayConfig;
use rolegate_testkit::for_each_version;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::stage::Stage;
use crate::harness::{Options, publish};

const OPEN: &str = "select id, name from open";
const DOCS: &str = "select id, title from docs";

/// As soon as the change of rights is known: nobody has to look whether it is time to.
#[tokio::test]
async fn a_role_that_is_revoked_is_told_at_once() {
    for_each_version(async |db| {
        let defaults = Options::default();
        let gateway = GatewayConfig {
            check_again: Duration::from_hours(1),
            heartbeat: Duration::from_hours(1),
            ..defaults.gateway
        };
        let stage = Stage::set_with(
            db,
            Options {
                gateway,
                ..defaults
            },
        )
        .await;
        let token = stage.member_of(1);
        let mut private = stage.watch(Some(&token), DOCS).await;
        private.expect("snapshot").await;
        let mut public = stage.watch(Some(&token), OPEN).await;
        public.expect("snapshot").await;
        let mut anonymous = stage.watch(None, OPEN).await;
        anonymous.expect("snapshot").await;
        stage
            .run(&format!(
                "revoke rolegate_admitted from \"{}\"",
                stage.member
            ))
            .await;
        private.ends("role_not_admitted").await;
        public.ends("role_not_admitted").await;
        // Nobody else notices.
        let txid = stage
            .write("insert into api.open values (3, 'three')")
            .await;
        anonymous.sees(txid).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_ends_ends_its_stream() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let role = RoleName::new(&stage.member).expect("a name");
        let token = stage
            .gateway
            .database
            .sign_for(&role, Duration::from_secs(3))
            .await;
        let token = token.expect("admitted").expose_secret().to_owned();
        let mut watcher = stage.watch(Some(&token), OPEN).await;
        watcher.expect("snapshot").await;
        watcher.ends("token_expired").await;
    })
    .await;
}

#[tokio::test]
async fn what_becomes_private_or_public_begins_anew() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let token = stage.member_of(1);
        for (sql, change) in [
            (OPEN, "alter table api.open enable row level security"),
            // Now it is private: only the member may see it, if a policy says so.
            (DOCS, "alter table api.docs disable row level security; grant select on api.docs to public"),
            (DOCS, "revoke select on api.docs from public"),
        ] {
            let mut watcher = stage.watch(Some(&token), sql).await;
            watcher.expect("snapshot").await;
            stage.run(change).await;
            watcher.ends("query_changed").await;
        }
        let (status, code) = stage.refusal(None, OPEN).await;
        assert_eq!((status, &*code), (401, "query_private"));
    })
    .await;
}

#[tokio::test]
async fn policies_and_claims_count_at_once() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let token = stage.member_of(1);
        let mut watcher = stage.watch(Some(&token), DOCS).await;
        watcher.expect("snapshot").await;
        assert_eq!(watcher.column("id"), [json!(1)]);
        // The same claims, other rows.
        stage
            .run("alter policy by_org on api.docs using (org <> (select (rolegate.claims() ->> 'org')::int))")
            .await;
        while watcher.column("id") != [json!(2)] {
            watcher.next().await.expect("an event");
        }
        // Others: who shares the rows is not who shared them.
        stage
            .run("alter policy by_org on api.docs using (title = rolegate.claim('sub'))")
            .await;
        watcher.ends("query_changed").await;
    })
    .await;
}

#[tokio::test]
async fn definitions_may_change() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut watcher = stage.watch(None, "select * from open").await;
        watcher.expect("snapshot").await;
        stage
            .run("alter table api.open add column more int default 7")
            .await;
        let reason = watcher.until("reset").await["reason"].clone();
        assert_eq!(reason, "schema");
        let snapshot = watcher.expect("snapshot").await;
        assert_eq!(snapshot["columns"], json!(["id", "name", "more"]));
        assert_eq!(snapshot["rows"][0]["more"], 7);
        let txid = stage
            .write("update api.open set more = 8 where id = 1")
            .await;
        watcher.sees(txid).await;
        assert_eq!(watcher.column("more"), [json!(8), json!(7)]);
        stage.run("drop table api.open").await;
        // Nobody learns that it is gone: it could as well be closed.
        watcher.ends("query_changed").await;
        let token = stage.member_of(1);
        let mut private = stage.watch(Some(&token), DOCS).await;
        private.expect("snapshot").await;
        stage.run("drop table api.docs").await;
        private.ends("query_refused").await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut watcher = stage.watch(None, OPEN).await;
        watcher.expect("snapshot").await;
        stage.gateway.stop.cancel();
        watcher.ends("shutting_down").await;
    })
    .await;
}

#[tokio::test]
async fn a_right_that_is_taken_is_not_a_deletion() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let member = &stage.member;
        stage
            .run(&format!(
                "create table api.closed (id int primary key); insert into api.closed values (1);
                 grant select on api.closed to \"{member}\""
            ))
            .await;
        publish(db).await;
        let token = stage.member_of(1);
        let mut watcher = stage.watch(Some(&token), "select id from closed").await;
        watcher.expect("snapshot").await;
        stage
            .run(&format!("revoke select on api.closed from \"{member}\""))
            .await;
        let problem = watcher.expect("error").await;
        assert_eq!(problem["code"], "permission_denied");
        assert_eq!(problem["status"], 403);
    })
    .await;
}
