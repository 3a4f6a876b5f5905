//! Whom nothing is told, and who is not believed.

use std::time::Duration;

use rolegate_replication::Status;
use rolegate_testkit::for_each_version;
use tokio_postgres::error::SqlState;

use crate::follower::{config, hearer, passing};
use crate::stage::Stage;

#[tokio::test]
async fn with_another_secret_key_or_protocol_nothing_is_heard() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let passing = passing().await;
        let reader = stage.start_with(config(&stage, &passing));
        reader.becomes(Status::Following).await;
        {
            let (other, _hearing) = hearer(&stage);
            other.becomes(Status::Relayed).await;
        }
        stage
            .run("create table public.kept as select * from rolegate.change_relay")
            .await;
        // A superuser, because nobody else may write there.
        for wrong in [
            "secret = sha256('x')",
            "pin = sha256('x')",
            "pin = overlay(pin placing '\\x00' from 32) where pin <> overlay(pin placing '\\x00' from 32)",
            "protocol = 2",
            "address = '127.0.0.1:1'",
            "address = 'not an address'",
        ] {
            stage
                .run(&format!("update rolegate.change_relay set {wrong}"))
                .await;
            let (other, hearing) = hearer(&stage);
            other.becomes(Status::Unrelayed).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(other.feed.status(), Status::Unrelayed, "{wrong}");
            assert_eq!(other.feed.epoch(), None, "{wrong}");
            drop(hearing);
            stage
                .run(
                    "update rolegate.change_relay r set (secret, pin, protocol, address) = \
                     (select k.secret, k.pin, k.protocol, k.address from public.kept k)",
                )
                .await;
        }
        let (other, _hearing) = hearer(&stage);
        other.becomes(Status::Relayed).await;
        assert!(reader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn only_the_gateway_knows_how_to_listen() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let passing = passing().await;
        let reader = stage.start_with(config(&stage, &passing));
        let (other, _hearing) = hearer(&stage);
        other.becomes(Status::Relayed).await;
        let gateway = db.connect_as("rolegate_gateway").await;
        let sql = "select term, secret from rolegate.change_relay()";
        let known = gateway.query_one(sql, &[]).await.unwrap();
        let (term, secret): (i64, Vec<u8>) = (known.get(0), known.get(1));
        for login in [
            "rolegate_worker",
            "rolegate_receiver",
            "rolegate_maintenance",
            "rolegate_console",
            "rolegate_replicator",
            "rolegate_authenticator",
            "rolegate_anonymous",
        ] {
            let client = db.connect_as(login).await;
            for sql in [
                "select rolegate.change_relay()",
                "select secret from rolegate.change_relay",
            ] {
                let refused = client.batch_execute(sql).await.unwrap_err();
                assert_eq!(
                    refused.code().map(SqlState::code),
                    Some("42501"),
                    "{login}: {sql}"
                );
            }
        }
        // Who may see where it is, and may not listen.
        stage
            .run("create role rolegate_looks in role rolegate_viewer")
            .await;
        stage.run("set role rolegate_looks").await;
        let sql = "select rolegate.change_relay_address()";
        assert_eq!(stage.text(sql).await, passing.relay.address());
        let refused = stage
            .superuser
            .batch_execute("select rolegate.change_relay()")
            .await;
        assert_eq!(
            refused.unwrap_err().code().map(SqlState::code),
            Some("42501")
        );
        stage.run("reset role; drop role rolegate_looks").await;
        // New with each term.
        stage.kill(true).await;
        loop {
            let again = gateway.query_opt(sql_of_term(), &[]).await.unwrap();
            if let Some(row) = again
                && row.get::<_, i64>(0) != term
            {
                assert_ne!(row.get::<_, Vec<u8>>(1), secret);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(reader.stop().await);
        // What is left says nothing.
        assert!(
            gateway
                .query_opt(sql_of_term(), &[])
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

fn sql_of_term() -> &'static str {
    "select term, secret from rolegate.change_relay()"
}
