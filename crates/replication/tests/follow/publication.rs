//! What is published, and that nobody's updates fail for it.

use rolegate_replication::publication::{self, PublicationError};
use rolegate_testkit::for_each_version;

use crate::stage::{Stage, installation};

#[tokio::test]
async fn tables_are_published_if_their_rows_can_be_told_apart() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run(
                r#"
                create table app."Odd ""name" (id int primary key);
                create table app.bare (id int);
                create table app.whole (id int);
                alter table app.whole replica identity full;
                create table app.nothing (id int primary key);
                alter table app.nothing replica identity nothing;
                create table app.indexed (id int not null unique);
                alter table app.indexed replica identity using index indexed_id_key;
                create table app.deferred (id int primary key deferrable);
                create unlogged table app.quick (id int primary key);
                create table app.made (id int, twice int generated always as (id * 2) stored);
                alter table app.made replica identity full;
                create table app.parted (id int primary key) partition by range (id);
                create table app.low partition of app.parted for values from (0) to (9);
                create materialized view app.summary as select 1 as one;
                create view app.seen as select 1 as one;
                create schema elsewhere; create table elsewhere.t (id int primary key)
                "#,
            )
            .await;
        let tables = stage.sync().await;
        assert_eq!(
            tables.added,
            [
                "app.\"Odd \"\"name\"",
                "app.indexed",
                "app.low",
                "app.whole"
            ]
        );
        assert_eq!(tables.kept, ["app.log"]);
        let left_out: Vec<String> = tables
            .left_out
            .iter()
            .map(|left| format!("{}: {}", left.table, left.reason))
            .collect();
        assert_eq!(
            left_out,
            [
                "app.bare: it has no primary key",
                "app.deferred: the index of its replica identity is deferrable or not valid",
                "app.made: its replica identity has generated columns",
                "app.nothing: its replica identity is NOTHING",
                "app.quick: it is unlogged",
                "app.summary: it is no ordinary table",
            ]
        );
        // Once more changes nothing.
        let again = stage.sync().await;
        assert!(again.added.is_empty() && again.removed.is_empty());
        assert_eq!(again.kept.len(), 5);
        // Every published table takes updates and deletes.
        let sql = "select format('update %1$s set id = id; delete from %1$s', prrelid::regclass) \
                   from pg_publication_rel where prrelid <> 'app.log'::regclass";
        for row in stage.superuser.query(sql, &[]).await.unwrap() {
            stage.run(row.get(0)).await;
        }
        // What is not exposed any more goes.
        let mut administrator = db.superuser().await;
        let tables = publication::sync(
            &mut administrator,
            &installation(),
            &["elsewhere".to_owned()],
        )
        .await
        .unwrap();
        assert_eq!(tables.added, ["elsewhere.t"]);
        assert_eq!(tables.removed.len(), 5);
        publication::remove(&mut administrator, &installation())
            .await
            .unwrap();
        publication::remove(&mut administrator, &installation())
            .await
            .unwrap();
        let left = "select (select count(*) from pg_publication) \
                    + (select count(*) from pg_event_trigger)";
        assert_eq!(
            stage
                .superuser
                .query_one(left, &[])
                .await
                .unwrap()
                .get::<_, i64>(0),
            0
        );
    })
    .await;
}

#[tokio::test]
async fn a_table_that_loses_its_identity_is_taken_out_before_anybodys_update_fails() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = db.create_role("owner").await;
        stage
            .run(&format!(
                "grant usage, create on schema app to {role};
                 create table app.indexed (id int not null); create unique index i on app.indexed (id);
                 alter table app.indexed replica identity using index i;
                 create table app.second (id int primary key);
                 insert into app.log values ('1'), ('2'); insert into app.indexed values (1), (2);
                 insert into app.second values (1), (2);
                 alter table app.log owner to {role}; alter table app.indexed owner to {role};
                 alter table app.second owner to {role}"
            ))
            .await;
        stage.sync().await;
        // Whoever owns the table owns neither the publication nor anything of ours.
        let owner = db.connect_as(&role).await;
        for (lose, table) in [
            ("alter table app.log drop constraint log_pkey", "app.log"),
            ("drop index app.i", "app.indexed"),
            ("alter table app.second replica identity nothing", "app.second"),
        ] {
            let sql = format!("begin; {lose}; update {table} set {}; commit", match table {
                "app.log" => "xid = '3' where xid = '1'",
                _ => "id = 3 where id = 1",
            });
            if let Err(error) = owner.batch_execute(&sql).await {
                panic!("{sql}: {error:?}");
            }
        }
        let count = "select count(*)::text from pg_publication_rel";
        assert_eq!(stage.text(count).await, "0");
        let left_out = stage.sync().await.left_out;
        assert_eq!(left_out.len(), 3);
        owner.batch_execute("alter table app.log replica identity full").await.unwrap();
        assert_eq!(stage.sync().await.added, ["app.log"]);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_can_not_be_taken_out_takes_the_publication_with_it_and_not_the_update() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run("insert into app.log values ('1'); revoke usage on schema app from rolegate_owner")
            .await;
        stage
            .run("alter table app.log drop constraint log_pkey; update app.log set xid = '2'")
            .await;
        let count = "select count(*)::text from pg_publication";
        assert_eq!(stage.text(count).await, "0");
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_synchronised_is_refused() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let of = installation();
        let mut administrator = db.superuser().await;
        for schema in ["rolegate", "pg_catalog", "information_schema"] {
            let refused = publication::sync(&mut administrator, &of, &[schema.to_owned()]).await;
            assert!(
                matches!(refused, Err(PublicationError::Schema { .. })),
                "{schema}"
            );
        }
        let mut migrator = db.connect_as("rolegate_migrator").await;
        let refused = publication::sync(&mut migrator, &of, &["app".to_owned()]).await;
        assert!(matches!(
            refused,
            Err(PublicationError::NotSuperuser { .. })
        ));
        stage
            .run("drop publication rolegate; create publication rolegate for all tables")
            .await;
        let refused = publication::sync(&mut administrator, &of, &["app".to_owned()]).await;
        assert!(matches!(refused, Err(PublicationError::Foreign { .. })));
        // Others' DDL goes on, though this publication can't be changed by ours.
        stage
            .run("create table app.x (id int); drop table app.x")
            .await;
    })
    .await;
}
