//! The private cluster, and the administrative commands with `--data-dir`.

use crate::installation::Installation;
use crate::program::finishes;

async fn logs_in(data_dir: &str, role: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(format!("{data_dir}/dev.json")).expect("dev.json");
    let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let url = record["database_url"].as_str().expect("a URL");
    let url = url.replace("//postgres@", &format!("//{role}@"));
    let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    connected.map(drop).map_err(|error| format!("{error:?}"))
}

async fn roles_come_and_go(postgres: &str, lines_for_alice: usize) {
    let installation = Installation::start(postgres, &[]).await;
    let data_dir = installation.data_dir().to_owned();
    let superuser = installation.superuser().await;
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
    assert!(installation.stop().await);
}

#[tokio::test]
async fn roles_come_and_go_on_15() {
    roles_come_and_go("system:15", 1).await;
}

#[tokio::test]
async fn roles_come_and_go_on_18() {
    roles_come_and_go("wheel", 0).await;
}
