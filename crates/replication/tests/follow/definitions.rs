//! Definitions that change are in the stream, where they were committed.

use rolegate_replication::Commit;
use rolegate_testkit::for_each_version;

use crate::stage::{Process, Stage};

/// What a statement makes the stream say.
async fn said(stage: &Stage<'_>, process: &mut Process, sql: &str) -> Vec<Commit> {
    stage.run(sql).await;
    process.commits_up_to(stage.now().await).await
}

#[tokio::test]
async fn definitions_of_a_relation_name_it() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run(
                "create table app.root (id int primary key, p int) ;
                 create table app.parted (id int, p int, primary key (id, p)) partition by list (p);
                 create view app.seen as select xid from app.log",
            )
            .await;
        stage.sync().await;
        let mut process = stage.follow().await;
        process.lost().await;
        let (log, parted) = (stage.oid("app.log").await, stage.oid("app.parted").await);
        for (sql, relation) in [
            ("alter table app.log add column more int default 5", log),
            ("create index log_note on app.log (note)", log),
            ("create policy p on app.log using (true)", log),
            ("alter policy p on app.log using (false)", log),
            ("drop policy p on app.log", log),
            ("alter table app.log enable row level security", log),
            ("alter table app.log drop column more", log),
            ("alter table app.log alter note type varchar(100)", log),
            ("alter table app.log set (fillfactor = 90)", log),
            (
                "create trigger t before update on app.log for each row execute function \
                suppress_redundant_updates_trigger()",
                log,
            ),
            ("drop trigger t on app.log", log),
            // A partition changes what its root is.
            (
                "create table app.one partition of app.parted for values in (1)",
                parted,
            ),
            ("alter table app.parted detach partition app.one", parted),
            (
                "alter table app.parted attach partition app.one for values in (1)",
                parted,
            ),
        ] {
            let commits = said(&stage, &mut process, sql).await;
            assert_eq!(commits.len(), 1, "{sql}");
            let touched = commits[0].relations.get(&relation);
            assert!(
                touched.is_some_and(|touched| touched.redefined),
                "{sql}: {commits:?}"
            );
            assert!(!commits[0].everything, "{sql}: {commits:?}");
        }
        let seen = stage.oid("app.seen").await;
        let commits = said(&stage, &mut process, "drop table app.log cascade").await;
        assert!(commits[0].relations[&log].redefined && commits[0].relations[&seen].redefined);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn definitions_of_anything_else_are_of_everything() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = db.create_role("reader").await;
        let mut process = stage.follow().await;
        process.lost().await;
        for sql in [
            format!("grant select on app.log to {role}"),
            format!("revoke select on app.log from {role}"),
            format!("grant usage on schema app to {role}"),
            "create function app.f() returns int language sql as 'select 1'".to_owned(),
            "create or replace function app.f() returns int language sql as 'select 2'".to_owned(),
            "drop function app.f()".to_owned(),
            "alter default privileges in schema app grant select on tables to public".to_owned(),
            "create type app.mood as enum ('good')".to_owned(),
            "alter type app.mood add value 'bad'".to_owned(),
        ] {
            let commits = said(&stage, &mut process, &sql).await;
            assert!(
                commits.len() == 1 && commits[0].everything,
                "{sql}: {commits:?}"
            );
        }
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn temporary_tables_and_what_is_rolled_back_say_nothing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut process = stage.follow().await;
        process.lost().await;
        for sql in [
            "create temporary table t (id int primary key); create index on t (id); \
             alter table t add column x int; drop table t",
            "begin; create table app.x (id int); rollback",
            "create temporary table u as select 1 as one",
            "discard temporary",
        ] {
            let commits = said(&stage, &mut process, sql).await;
            assert!(commits.is_empty(), "{sql}: {commits:?}");
        }
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn truncate_names_every_relation_that_it_emptied() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run(
                "create table app.child (id int primary key, of text references app.log);
                 create table app.parted (id int primary key) partition by range (id);
                 create table app.low partition of app.parted for values from (0) to (9);
                 insert into app.low values (1)",
            )
            .await;
        stage.sync().await;
        let mut process = stage.follow().await;
        process.lost().await;
        let (log, child, low) = (
            stage.oid("app.log").await,
            stage.oid("app.child").await,
            stage.oid("app.low").await,
        );
        let commits = said(&stage, &mut process, "truncate app.log cascade").await;
        let truncated = |oid| commits[0].relations.get(&oid).is_some_and(|t| t.truncated);
        assert!(truncated(log) && truncated(child));
        for sql in ["truncate app.parted", "truncate app.low"] {
            let commits = said(&stage, &mut process, sql).await;
            assert!(commits[0].relations[&low].truncated, "{sql}");
        }
        assert!(process.stop().await);
    })
    .await;
}
