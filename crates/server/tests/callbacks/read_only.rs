//! A receiver whose database takes no writes: not ready, and nothing is decided.

use rolegate_auth::callback::Action;
use rolegate_server::health::{self, Health};
use rolegate_testkit::{TestDatabase, for_each_version};

use crate::harness::{Desk, Receiver};

/// What `/readyz` of the process says.
async fn readiness(receiver: &Receiver) -> (u16, String) {
    let pools = vec![("callbacks".to_owned(), receiver.pool.clone())];
    let router = health::router(Health::probing(Vec::new(), pools, Vec::new(), None));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = reqwest::get(format!("http://{address}/readyz"))
        .await
        .unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    serving.abort();
    (status, text)
}

async fn set(desk: &Desk, db: &TestDatabase, read_only: &str) {
    let (name, set) = (
        db.name(),
        format!("default_transaction_read_only = {read_only}"),
    );
    let sql = format!("set transaction_read_only = off; alter database {name} set {set}");
    desk.superuser.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_can_not_write_says_so_and_decides_nothing() {
    for_each_version(async |db| {
        let desk = Desk::open(db).await;
        let (attempt, callback) = desk.parked().await;
        let before = desk.place(attempt.root).await;
        set(&desk, db, "on").await;
        let receiver = Receiver::start(db).await;
        let said = "callbacks read-only: the database takes no writes\n";
        assert_eq!(readiness(&receiver).await, (503, said.to_owned()));
        for (action, body) in [
            (Action::Complete, r#"{"payload": 1}"#),
            (Action::Fail, r#"{"error": "no"}"#),
            (Action::Resume, r#"{"payload": 1}"#),
            (Action::Heartbeat, r#"{"timeout_seconds": 60}"#),
        ] {
            let answer = receiver.call(&callback, action, body).await;
            answer.refused(503, "database_unavailable");
            let text = answer.body.to_string();
            assert!(text.contains("takes no writes"), "{action}: {text}");
            assert!(text.contains("Repeat the call"), "{action}: {text}");
            assert_eq!(answer.headers["retry-after"], "10");
        }
        assert_eq!(desk.place(attempt.root).await, before);

        // As after a failover: other connections, and the same call counts.
        set(&desk, db, "off").await;
        let receiver = Receiver::start(db).await;
        assert_eq!(
            readiness(&receiver).await,
            (200, "callbacks ok\n".to_owned())
        );
        let answer = receiver
            .call(&callback, Action::Complete, r#"{"payload": 1}"#)
            .await;
        assert_eq!(answer.state(), "completed");
    })
    .await;
}
