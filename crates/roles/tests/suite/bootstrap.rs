//! Bootstrap and migrations: repeatable, exclusive, and only for those who may.

use rolegate_roles::bootstrap::BootstrapError;
use rolegate_roles::migrate::MigrateError;
use rolegate_roles::{bootstrap, migrate};

use crate::installation::{Installation, versions};

crate::on_each_version! {
    async fn both_can_be_repeated(db) {
        bootstrap::apply(&db.superuser().await, &db.names).await.unwrap();
        let mut migrator = db.login("migrator").await;
        assert_eq!(migrate::run(&mut migrator, &db.names).await.unwrap(), []);
        assert_eq!(migrate::dry_run(&mut migrator, &db.names).await.unwrap(), "");
        let status = migrate::status(&mut migrator, &db.names).await.unwrap();
        assert!(status.iter().all(|m| m.applied));
        assert_eq!(status.last().unwrap().version, migrate::latest_version());
        assert!(db.verify().await.passed());
    }

    async fn a_repeat_puts_back_what_drifted(db) {
        db.run("alter role rolegate_gateway createrole; alter role rolegate_authenticator inherit;
                grant create on schema public to public;
                grant execute on function lo_create(oid) to public").await;
        assert!(!db.verify().await.passed());
        bootstrap::apply(&db.superuser().await, &db.names).await.unwrap();
        let failures: Vec<_> = db.verify().await.failures().cloned().collect();
        assert_eq!(failures, []);
    }

    async fn only_a_superuser_bootstraps(db) {
        let client = db.login("migrator").await;
        let error = bootstrap::apply(&client, &db.names).await.unwrap_err();
        assert!(matches!(error, BootstrapError::NotSuperuser { .. }), "{error}");
    }

    async fn only_the_migrator_migrates(db) {
        for login in ["gateway", "authenticator", "runtime"] {
            let error = migrate::run(&mut db.login(login).await, &db.names).await.unwrap_err();
            assert!(matches!(error, MigrateError::Postgres(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_refused() {
    for version in versions() {
        let db = Installation::empty(version).await;
        db.run("create schema rolegate").await;
        let error = bootstrap::apply(&db.superuser().await, &db.names)
            .await
            .unwrap_err();
        assert!(
            matches!(error, BootstrapError::ForeignSchema { .. }),
            "{error}"
        );
        db.remove().await;
    }
}

#[tokio::test]
async fn two_migrations_at_once_apply_everything_once() {
    for version in versions() {
        let db = Installation::empty(version).await;
        db.bootstrap().await;
        let (mut one, mut two) = (db.login("migrator").await, db.login("migrator").await);
        assert!(
            !migrate::dry_run(&mut one, &db.names)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            migrate::status(&mut one, &db.names)
                .await
                .unwrap()
                .iter()
                .all(|m| !m.applied)
        );
        let (first, second) = tokio::join!(
            migrate::run(&mut one, &db.names),
            migrate::run(&mut two, &db.names)
        );
        let mut counts = [first.unwrap().len(), second.unwrap().len()];
        counts.sort_unstable();
        let all = migrate::status(&mut one, &db.names).await.unwrap().len();
        assert_eq!(counts, [0, all]);
        db.remove().await;
    }
}

#[tokio::test]
async fn another_schema_name_works_throughout() {
    for version in versions() {
        let mut db = Installation::empty(version).await;
        db.names = rolegate_roles::Names::new("gate", db.names.role_prefix()).unwrap();
        db.bootstrap().await;
        migrate::run(&mut db.login("migrator").await, &db.names)
            .await
            .unwrap();
        let failures: Vec<_> = db.verify().await.failures().cloned().collect();
        assert_eq!(failures, []);
        db.remove().await;
    }
}
