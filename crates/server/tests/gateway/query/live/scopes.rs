//! Who gets which rows, and who shares them.

use rolegate_testkit::for_each_version;
use serde_json::json;

use super::stage::Stage;
use crate::harness::publish;

#[tokio::test]
async fn members_of_one_organization_never_see_rows_of_another() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let sql = "select id, org, title from docs";
        let mut watchers = Vec::new();
        for (org, subject) in [(1, "ann"), (1, "abe"), (2, "ben"), (3, "cyd")] {
            let token = stage.token(&json!({"org": org, "sub": subject}));
            let mut watcher = stage.watch(Some(&token), sql).await;
            watcher.expect("snapshot").await;
            watchers.push((org, watcher));
        }
        let txid = stage
            .write(
                "insert into api.docs values (3, 1, 'a2'), (4, 2, 'b2'), (5, 3, 'c1'); \
                 update api.docs set org = 3 - org where id in (1, 2)",
            )
            .await;
        for (org, watcher) in &mut watchers {
            watcher.sees(txid).await;
            let rows = stage
                .rows(&format!(
                    "select id, org, title from api.docs where org = {org}"
                ))
                .await;
            assert_eq!(watcher.by_id(), rows, "{org}");
        }
        // One run serves both of the first organization, and nobody else.
        let group = |place: usize| watchers[place].1.group();
        assert_eq!(group(0), group(1));
        assert_ne!(group(0), group(2));
        assert_ne!(group(2), group(3));
        // Without the claim nothing is to be seen, and without a token it is not to be had.
        let mut nobody = stage.watch(Some(&stage.token(&json!({}))), sql).await;
        assert_eq!(nobody.expect("snapshot").await["rows"], json!([]));
        assert_eq!(
            stage.refusal(None, sql).await,
            (401, "query_private".to_owned())
        );
        let (status, _) = stage.refusal(Some("nonsense"), "select id from open").await;
        assert_eq!(status, 401);
    })
    .await;
}

#[tokio::test]
async fn what_is_public_is_one_for_everybody() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut groups = Vec::new();
        let tokens = [None, Some(stage.member_of(1)), Some(stage.member_of(2))];
        for token in &tokens {
            let mut watcher = stage.watch(token.as_deref(), "select id from open").await;
            watcher.expect("snapshot").await;
            groups.push(watcher.group());
        }
        groups.dedup();
        assert_eq!(groups.len(), 1, "{groups:?}");
    })
    .await;
}

#[tokio::test]
async fn a_run_for_many_has_nothing_of_one_of_them() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        // The text shows what it can see of whoever asks; it is as good as one that looks for it.
        let member = &stage.member;
        stage
            .run(&format!(
                "create table api.note (id int primary key);
                 insert into api.note values (1);
                 grant select on api.note to \"{member}\"; "
            ))
            .await;
        publish(db).await;
        let alice = stage.token(&json!({"org": 1, "sub": "alice"}));
        let sql = "select id, rolegate.claim('org') as org, current_user = session_user as same from note";
        let mut watcher = stage.watch(Some(&alice), sql).await;
        let rows = watcher.expect("snapshot").await["rows"].clone();
        assert_eq!(rows, json!([{"id": 1, "org": "1", "same": true}]));
        // All claims: then it is of one token alone.
        let all = "select id, rolegate.claims() ->> 'sub' as sub, rolegate.claims() as all from note";
        let bob = stage.token(&json!({"org": 1, "sub": "bob"}));
        let mut groups = Vec::new();
        for (token, subject) in [(&alice, "alice"), (&bob, "bob"), (&alice, "alice")] {
            let mut watcher = stage.watch(Some(token), all).await;
            let rows = watcher.expect("snapshot").await["rows"].clone();
            assert_eq!(rows[0]["sub"], subject);
            assert_eq!(rows[0]["all"]["org"], 1);
            groups.push(watcher.group());
        }
        assert_eq!(groups[0], groups[2]);
        assert_ne!(groups[0], groups[1]);
    })
    .await;
}

#[tokio::test]
async fn a_function_of_users_sees_all_claims_and_is_woken_by_every_commit() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let member = &stage.member;
        stage
            .run(&format!(
                "create table api.access (sub text primary key, org int not null);
                 insert into api.access values ('alice', 1), ('bob', 2);
                 create function api.my_org() returns int language sql stable security definer
                     set search_path = pg_catalog, api
                     as $$ select org from access where sub = rolegate.claim('sub') $$;
                 create policy by_access on api.docs for select to \"{member}\"
                     using (org = (select api.my_org()));
                 drop policy by_org on api.docs;
                 grant execute on function api.my_org() to \"{member}\";"
            ))
            .await;
        publish(db).await;
        let sql = "select id, org from docs";
        let tokens = ["alice", "bob"].map(|sub| stage.token(&json!({"sub": sub})));
        let mut alice = stage.watch(Some(&tokens[0]), sql).await;
        alice.expect("snapshot").await;
        let mut bob = stage.watch(Some(&tokens[1]), sql).await;
        bob.expect("snapshot").await;
        assert_ne!(alice.group(), bob.group());
        assert_eq!(
            (alice.column("org"), bob.column("org")),
            (vec![json!(1)], vec![json!(2)])
        );
        // The function is its author's: nobody knows that it reads this table.
        let txid = stage
            .write("update api.access set org = 2 where sub = 'alice'")
            .await;
        alice.sees(txid).await;
        assert_eq!(alice.column("org"), [json!(2)]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_published_can_not_be_watched() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run("create table api.loose (id int); grant select on api.loose to public")
            .await;
        let refusal = stage.refusal(None, "select id from loose").await;
        assert_eq!(refusal, (422, "query_refused".to_owned()));
    })
    .await;
}

/// Nothing tells of that table: what a function reads there is seen with the next commit that is told, and no later.
#[tokio::test]
async fn what_a_function_reads_unpublished_is_seen_with_the_next_commit() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run(
                "create table api.loose (n int); insert into api.loose values (1);
                 create function api.peek() returns int language sql stable security definer
                     set search_path = pg_catalog, api as 'select max(n) from loose';
                 create function api.inlined() returns int language sql stable as 'select max(n) from api.loose';
                 grant select on api.loose to public;
                 grant execute on function api.peek(), api.inlined() to public;
                 create table api.else (id int primary key)",
            )
            .await;
        publish(db).await;
        let sql = "select id, peek() as n from open where id = 1";
        let mut watcher = stage.watch(None, sql).await;
        assert_eq!(watcher.expect("snapshot").await["rows"], json!([{"id": 1, "n": 1}]));
        let unseen = stage.write("update api.loose set n = 2").await;
        // Neither of the query's table nor of that of the function.
        let seen = stage.write("insert into api.else values (1)").await;
        watcher.sees(seen).await;
        assert_eq!(watcher.rows, [("1".to_owned(), json!({"id": 1, "n": 2}))]);
        assert!(!watcher.txids.contains(&unseen), "it was told of {unseen}");
        // Nor is it kept.
        let url = format!("http://{}/query", stage.gateway.address);
        for _ in 0..3 {
            let post = stage.gateway.client.post(&url).json(&json!({"sql": sql}));
            let answer = post.send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["cache-control"], "no-store");
        }
        // What the planner puts in place of its call is seen to be read.
        let refusal = stage.refusal(None, "select id, inlined() as n from open").await;
        assert_eq!(refusal, (422, "query_refused".to_owned()));
    })
    .await;
}
