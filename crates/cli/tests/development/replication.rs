//! The change stream of a development server, and the commands around it.

use std::time::Duration;

use serde_json::Value;

use crate::installation::Installation;
use crate::program::{Finished, finishes};

async fn command(installation: &Installation, arguments: &[&str]) -> Finished {
    let target = [
        "replication",
        arguments[0],
        "--data-dir",
        installation.data_dir(),
    ];
    finishes(&[&target, &arguments[1..]].concat()).await
}

async fn done(installation: &Installation, arguments: &[&str]) -> String {
    let finished = command(installation, arguments).await;
    assert!(finished.success, "{arguments:?}: {}", finished.text);
    finished.text
}

/// The status once it is as it should be.
async fn status(installation: &Installation, well: bool) -> Value {
    for _ in 0..300 {
        let finished = command(installation, &["status", "--json"]).await;
        if finished.success == well {
            return serde_json::from_str(finished.text.trim()).expect("JSON");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never gets {well}");
}

async fn the_stream_is_there_and_can_be_removed(postgres: &str) {
    let installation = Installation::start(postgres, &[]).await;
    let first = status(&installation, true).await;
    assert_eq!(first["wal_level"], "logical");
    assert_eq!(first["max_slot_wal_keep_size"], "1GB");
    assert_eq!(first["reason"], "the first slot");
    let ready = {
        let record = installation.record();
        let url = format!("{}/readyz", record["metrics_url"].as_str().expect("a URL"));
        reqwest::get(url)
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text")
    };
    assert!(ready.contains("app change stream following"), "{ready}");

    let superuser = installation.superuser().await;
    superuser
        .batch_execute(
            "create table api.thing (id int primary key); create table api.bare (id int)",
        )
        .await
        .expect("tables");
    let planned = done(&installation, &["sync", "--dry-run"]).await;
    let expected = "added\tapi.thing\nleft out\tapi.bare: it has no primary key\n";
    assert_eq!(planned, expected);
    assert_eq!(done(&installation, &["sync"]).await, expected);
    let again = done(&installation, &["sync"]).await;
    assert!(again.starts_with("kept\tapi.thing\n"), "{again}");
    let refused = command(&installation, &["sync", "--expose", "rolegate"]).await;
    assert!(
        !refused.success && refused.text.contains("name the schemas"),
        "{}",
        refused.text
    );

    let said = done(&installation, &["resync", "--reason", "a test"]).await;
    let second = status(&installation, true).await;
    assert_eq!(second["reason"], "a test");
    assert_ne!(second["epoch"], first["epoch"]);
    assert_eq!(
        said,
        format!("the epoch is {}\n", second["epoch"].as_str().expect("text"))
    );

    let dropped = done(&installation, &["drop"]).await;
    assert!(dropped.starts_with("dropped slot"), "{dropped}");
    let third = status(&installation, false).await;
    assert_eq!(third["slot"], Value::Null);
    assert_eq!(third["published"], false);
    let shown = command(&installation, &["status"]).await;
    assert!(shown.text.contains("slot\tnone\n"), "{}", shown.text);
    // And begins anew without a restart.
    done(&installation, &["sync"]).await;
    for attempt in 0.. {
        let fourth = status(&installation, true).await;
        // The slot is there a moment before the epoch is.
        if fourth["epoch"] != second["epoch"] {
            assert_eq!(fourth["reason"], "the slot was gone");
            break;
        }
        assert!(attempt < 100, "{fourth}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(superuser);
    assert!(installation.stop().await);
}

#[tokio::test]
async fn the_stream_is_there_and_can_be_removed_on_15() {
    the_stream_is_there_and_can_be_removed("system:15").await;
}

#[tokio::test]
async fn the_stream_is_there_and_can_be_removed_on_18() {
    the_stream_is_there_and_can_be_removed("wheel").await;
}
