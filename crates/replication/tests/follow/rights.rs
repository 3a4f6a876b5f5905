//! What the login for replication may do with SQL, which is next to nothing.

use rolegate_testkit::for_each_version;
use tokio_postgres::error::SqlState;

use crate::stage::Stage;

#[tokio::test]
async fn the_replicator_reads_no_table_and_calls_nothing_else() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let replicator = db.connect_as("rolegate_replicator").await;
        for sql in [
            "select from app.log",
            "select from rolegate.change_stream",
            "select from rolegate.job",
            "select rolegate.renew_change_epoch()",
            "select rolegate.epoch()",
            "select rolegate.claim_signing_key()",
            "select rolegate.change_relay()",
            "select from rolegate.change_relay",
            "select rolegate.note_definitions('{}')",
            "select rolegate.unpublish()",
            "select rolegate.change_epoch('x')",
            "select pg_logical_emit_message(true, 'rolegate', 'x')",
            "select pg_try_advisory_lock(1)",
            "select pg_terminate_backend(1)",
            "create table x (id int)",
            "create temporary table x (id int)",
            "alter publication rolegate drop table app.log",
            "create publication mine",
            "set role rolegate_owner",
            "set role rolegate_publisher",
        ] {
            let refused = replicator.batch_execute(sql).await.unwrap_err();
            assert_eq!(refused.code().map(SqlState::code), Some("42501"), "{sql}");
        }
        // 16 and newer can be asked to list the open transactions, and it may.
        let listing = "select coalesce(pg_catalog.has_function_privilege( \
            pg_catalog.to_regprocedure('pg_log_standby_snapshot()'), 'execute'), \
            pg_catalog.current_setting('server_version_num')::int < 160000)";
        let may = replicator.query_one(listing, &[]).await.unwrap();
        assert!(may.get::<_, bool>(0));
        // Only the session with the lock says how far it is.
        for sql in [
            "select rolegate.note_change_position('0/1')",
            "select rolegate.begin_change_stream('x', 'x', 1)",
            "select rolegate.offer_change_relay(1, 'x', '', '')",
        ] {
            let refused = replicator.batch_execute(sql).await.unwrap_err();
            assert_eq!(refused.code().map(SqlState::code), Some("55000"), "{sql}");
        }
        let first = replicator.query_one("select rolegate.lead_change_stream()", &[]).await;
        assert!(first.unwrap().get::<_, bool>(0));
        // And where it passes that on only once it has begun.
        let early = "select rolegate.offer_change_relay(1, 'x', sha256(''), sha256(''))";
        let refused = replicator.batch_execute(early).await.unwrap_err();
        assert_eq!(refused.code().map(SqlState::code), Some("55000"));
        let other = db.connect_as("rolegate_replicator").await;
        let second = other.query_one("select rolegate.lead_change_stream()", &[]).await;
        assert!(!second.unwrap().get::<_, bool>(0));
        // Who may define the functions that superusers run by event triggers: nobody who logs in.
        let migrator = db.connect_as("rolegate_migrator").await;
        migrator.batch_execute("set role rolegate_owner").await.unwrap();
        for sql in [
            "alter function rolegate.note_command() security invoker",
            "create or replace function rolegate.note_drop() returns event_trigger language plpgsql \
             as 'begin end'",
            "set role rolegate_publisher",
        ] {
            let refused = migrator.batch_execute(sql).await.unwrap_err();
            assert_eq!(refused.code().map(SqlState::code), Some("42501"), "{sql}");
        }
        drop(stage);
    })
    .await;
}
