//! A database per test: what it has, who gets in, and that it goes away.

use rolegate_testkit::{Admitted, Clusters, TestDatabase, Version, for_each_version};
use tokio_postgres::error::SqlState;

#[tokio::test]
async fn a_test_database_has_the_engines_schema_and_its_privileges() {
    for_each_version(async |db| {
        let client = db.connect_as("rolegate_gateway").await;
        let row = client
            .query_one(
                "select session_user::text, current_database()::text, \
                 current_setting('server_version_num')::int / 10000",
                &[],
            )
            .await
            .expect("a row");
        assert_eq!(row.get::<_, &str>(0), "rolegate_gateway");
        assert_eq!(row.get::<_, &str>(1), db.name());
        assert_eq!(row.get::<_, i32>(2).unsigned_abs(), db.version().major());
        client
            .query_one("select rolegate.epoch()", &[])
            .await
            .expect("the engine is there");
        let privileges = "select d.datname, a.grantee, a.privilege_type \
            from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a \
            where d.datname in ($1, $2) order by 1, 2, 3";
        let template = &db.cluster().template;
        let superuser = db.superuser().await;
        let rows = superuser
            .query(privileges, &[&db.name(), template])
            .await
            .expect("rows");
        let of = |name: &str| -> Vec<(u32, String)> {
            rows.iter()
                .filter(|row| row.get::<_, &str>(0) == name)
                .map(|row| (row.get(1), row.get(2)))
                .collect()
        };
        assert_eq!(of(db.name()), of(template));
        assert!(!of(template).is_empty());
        assert!(
            !of(db.name()).iter().any(|(grantee, _)| *grantee == 0),
            "something for PUBLIC"
        );
    })
    .await;
}

#[tokio::test]
async fn a_role_logs_in_as_itself_and_an_unlisted_one_does_not() {
    for_each_version(async |db| {
        let ann = db.create_role("ann o'\"x").await;
        let row = db
            .connect_as(&ann)
            .await
            .query_one("select session_user::text", &[])
            .await;
        assert_eq!(row.expect("a row").get::<_, &str>(0), ann);

        let bob = db.create_role_with("bob", "login", Admitted::No).await;
        let error = db.try_connect_as(&bob).await.expect_err("not listed");
        assert_eq!(
            error.code(),
            Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        );
        // Listed but not admitted: the login succeeds, CONNECT is missing.
        db.list_in_peer_map(&[&bob]).await;
        let error = db.try_connect_as(&bob).await.expect_err("not admitted");
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));

        let eve = db
            .create_role_with("eve", "nologin", Admitted::Assume)
            .await;
        let login = db.connect_as("rolegate_authenticator").await;
        let switch = ["set role ", &rolegate_pg::quote::ident(&eve)].concat();
        login
            .batch_execute(&switch)
            .await
            .expect("it may become an admitted role");
    })
    .await;
}

#[tokio::test]
async fn a_password_works_over_tcp() {
    for_each_version(async |db| {
        let attributes = "login password 'right' in role rolegate_admitted";
        let ann = db.create_role_with("ann", attributes, Admitted::No).await;
        for (password, works) in [("right", true), ("wrong", false)] {
            let login = db
                .password_config(&ann, password)
                .connect(tokio_postgres::NoTls)
                .await;
            assert_eq!(login.is_ok(), works, "{password}");
        }
    })
    .await;
}

#[tokio::test]
async fn two_databases_of_a_version_do_not_see_each_other() {
    for version in Clusters::from_environment().0.keys().copied() {
        let (one, two) = (
            TestDatabase::create(version).await,
            TestDatabase::create(version).await,
        );
        one.superuser()
            .await
            .batch_execute("create table public.only_one ()")
            .await
            .expect("ddl");
        let row = two.superuser().await;
        let row = row
            .query_one("select to_regclass('public.only_one')::text", &[])
            .await;
        assert_eq!(row.expect("a row").get::<_, Option<&str>>(0), None);
        one.drop().await;
        two.drop().await;
    }
}

#[tokio::test]
async fn database_and_roles_are_gone_after_the_test_however_it_ends() {
    for version in Clusters::from_environment().0.keys().copied() {
        let explicit = TestDatabase::create(version).await;
        let mut names = vec![
            explicit.name().to_owned(),
            explicit.create_role("ann").await,
        ];
        let held = explicit.superuser().await;
        explicit.drop().await;
        assert!(
            held.simple_query("select 1").await.is_err(),
            "its connections end"
        );
        names.extend(leave_by_panic(version).await);
        assert_eq!(names.len(), 4);

        let witness = TestDatabase::create(version).await;
        let left = witness
            .superuser()
            .await
            .query_one(
                "select (select count(*) from pg_catalog.pg_database where datname = any($1)) \
                 + (select count(*) from pg_catalog.pg_roles where rolname = any($1))",
                &[&names],
            )
            .await
            .expect("a row");
        assert_eq!(left.get::<_, i64>(0), 0, "on {version}");
        witness.drop().await;
    }
}

/// The names of what a test that panics had made.
async fn leave_by_panic(version: Version) -> Vec<String> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async move {
        let db = TestDatabase::create(version).await;
        let role = db.create_role("bob").await;
        let _open = db.superuser().await;
        sender
            .send(vec![db.name().to_owned(), role])
            .expect("the test waits");
        panic!("this panic is part of the test");
    });
    let names = receiver.await.expect("the names");
    assert!(test.await.expect_err("it panicked").is_panic());
    names
}
