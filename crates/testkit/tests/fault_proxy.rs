//! Each fault, seen from a client of PostgreSQL.

use std::time::Duration;

use rolegate_testkit::{FaultProxy, for_each_version};
use tokio::io::AsyncReadExt as _;
use tokio_postgres::{Client, NoTls};

async fn connect(proxy: &FaultProxy, db: &rolegate_testkit::TestDatabase) -> Client {
    let config = proxy.config("postgres", db.name());
    let (client, connection) = config.connect(NoTls).await.expect("it connects");
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn peer_logins_work_through_the_socket_until_they_are_cut() {
    for_each_version(async |db| {
        let proxy = FaultProxy::unix(db.endpoint().address()).expect("it listens");
        let client = connect(&proxy, db).await;
        client.simple_query("select 1").await.expect("an answer");
        assert_eq!(proxy.connections(), 1);
        proxy.cut_all().await;
        assert_eq!(proxy.connections(), 0);
        assert!(client.simple_query("select 1").await.is_err(), "it was cut");
        // New connections come through.
        connect(&proxy, db)
            .await
            .simple_query("select 1")
            .await
            .expect("an answer");
    })
    .await;
}

#[tokio::test]
async fn refused_connections_leave_open_ones_alone() {
    for_each_version(async |db| {
        let proxy = FaultProxy::unix(db.endpoint().address()).expect("it listens");
        let client = connect(&proxy, db).await;
        proxy.refuse_new(true).await.expect("it refuses");
        let config = proxy.config("postgres", db.name());
        assert!(config.connect(NoTls).await.is_err(), "it was let in");
        client.simple_query("select 1").await.expect("an answer");
        proxy.refuse_new(false).await.expect("it accepts");
        connect(&proxy, db).await;
    })
    .await;
}

#[tokio::test]
async fn a_frozen_proxy_keeps_the_connection_and_answers_later() {
    for_each_version(async |db| {
        let proxy = FaultProxy::unix(db.endpoint().address()).expect("it listens");
        let client = connect(&proxy, db).await;
        proxy.stop_reading(true);
        let mut answer = std::pin::pin!(client.simple_query("select 1"));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut answer).await;
        assert!(early.is_err(), "it answered");
        proxy.stop_reading(false);
        answer.await.expect("an answer");
    })
    .await;
}

#[tokio::test]
async fn a_delay_holds_every_answer_back() {
    for_each_version(async |db| {
        let proxy = FaultProxy::unix(db.endpoint().address()).expect("it listens");
        let client = connect(&proxy, db).await;
        proxy.delay(Duration::from_hours(1));
        let answer =
            tokio::time::timeout(Duration::from_millis(50), client.simple_query("select 1"));
        assert!(answer.await.is_err(), "it answered");
    })
    .await;
}

#[tokio::test]
async fn a_cut_tcp_connection_is_reset() {
    for_each_version(async |db| {
        let target = rolegate_pg::wire::Address::Tcp {
            host: "127.0.0.1".to_owned(),
            port: db.cluster().port,
        };
        let proxy = FaultProxy::tcp(target).await.expect("it listens");
        let rolegate_pg::wire::Address::Tcp { host, port } = proxy.address() else {
            panic!("another kind of address");
        };
        let attributes = "login password 'x' in role rolegate_admitted";
        let role = db
            .create_role_with("ann", attributes, rolegate_testkit::Admitted::No)
            .await;
        let mut config = proxy.config(&role, db.name());
        let (client, connection) = config
            .password("x")
            .connect(NoTls)
            .await
            .expect("it connects");
        tokio::spawn(connection);
        client.simple_query("select 1").await.expect("an answer");

        let mut raw = tokio::net::TcpStream::connect((host.as_str(), port))
            .await
            .expect("open");
        while proxy.connections() < 2 {
            tokio::task::yield_now().await;
        }
        proxy.cut_all().await;
        assert!(client.simple_query("select 1").await.is_err(), "it was cut");
        let error = raw
            .read(&mut [0; 1])
            .await
            .expect_err("a reset, not an end");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

        proxy.refuse_new(true).await.expect("it refuses");
        let error = tokio::net::TcpStream::connect((host.as_str(), port)).await;
        assert_eq!(
            error.expect_err("refused").kind(),
            std::io::ErrorKind::ConnectionRefused
        );
    })
    .await;
}
