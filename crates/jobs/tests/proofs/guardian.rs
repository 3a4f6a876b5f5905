//! The log names whatever holds the horizon.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_testkit::Version;
use rolegate_testkit::own_server::OwnServer;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::stage::{Stage, eventually, pause};

/// Lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// Kind and holder of each event that names one.
    fn named(&self) -> Vec<(String, String)> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].take())
            .filter(|event| event["message"] == "horizon_held")
            .map(|event| {
                let text = |name: &str| event[name].as_str().unwrap().to_owned();
                assert!(event["transactions"].as_f64().unwrap() >= 5.0, "{event}");
                // The rows below, and what of the log was written after the slot was made.
                assert!(event["dead_rows"].as_i64().unwrap() >= 500, "{event}");
                let bytes = event["wal_bytes"].as_i64();
                assert_eq!(
                    bytes.is_some(),
                    event["kind"] == "replication_slot",
                    "{event}"
                );
                assert!(bytes.is_none_or(|bytes| bytes > 1 << 20), "{event}");
                (text("kind"), text("holder"))
            })
            .collect()
    }
}

#[tokio::test]
async fn who_holds_the_horizon_is_named() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for version in Version::ALL {
        // Slots and senders are the whole server's, and others' would be named as well.
        let server = OwnServer::new(version).await;
        let db = &server.db;
        let stage = Stage::new(db).await;
        let mut holder = db.superuser().await;
        holder
            .batch_execute("set application_name = 'forgotten'")
            .await
            .unwrap();
        let pid: i32 = holder
            .query_one("select pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        // Names are the cluster's. The slot first: making it waits for whoever has a number.
        let name = db.name().to_owned();
        let slot = format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')");
        stage.superuser.query(&slot, &[]).await.unwrap();
        stage
            .run(&format!(
                "begin; select pg_current_xact_id(); prepare transaction '{name}'"
            ))
            .await;
        let open = holder.transaction().await.unwrap();
        open.query("select pg_current_xact_id()", &[])
            .await
            .unwrap();
        // His snapshot is as old as what was prepared, and he holds nothing that would not be held without him.
        let reader = db.superuser().await;
        let read = "begin isolation level repeatable read; select 1";
        reader.batch_execute(read).await.unwrap();
        for _ in 0..10 {
            stage
                .superuser
                .query("select pg_current_xact_id()", &[])
                .await
                .unwrap();
        }
        // What that costs: rows that nobody needs, and log that the slot keeps.
        stage
            .run(
                "create table dead (n int); insert into dead select generate_series(1, 500); \
                 delete from dead; \
                 select pg_logical_emit_message(false, 'x', repeat('x', 2000000)); \
                 select pg_stat_force_next_flush()",
            )
            .await;
        let counted = "select n_dead_tup >= 500 from pg_stat_all_tables where relname = 'dead'";
        eventually(&stage.superuser, counted).await;
        let leader = stage.lead_with(|config| config.horizon_patience = Duration::ZERO);
        let wanted = [
            ("prepared_transaction", format!("'{name}' of postgres")),
            ("replication_slot", name.clone()),
            ("transaction", format!("pid {pid} of postgres (forgotten)")),
        ];
        for _ in 0..500 {
            if lines.named().len() >= wanted.len() {
                break;
            }
            pause(10).await;
        }
        let mut named = lines.named();
        lines.0.lock().unwrap().clear();
        named.sort();
        let wanted: Vec<(String, String)> = wanted
            .into_iter()
            .map(|(kind, holder)| (kind.to_owned(), holder))
            .collect();
        assert_eq!(named, wanted);
        assert!(leader.stop().await);
        open.rollback().await.unwrap();
        stage.run(&format!("rollback prepared '{name}'")).await;
        stage
            .run(&format!("select pg_drop_replication_slot('{name}')"))
            .await;
        drop((stage, holder, reader));
        server.stop().await;
    }
}
