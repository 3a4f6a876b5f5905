//! Clients that take their time are sent away; the others do not notice them.

use std::time::{Duration, Instant};

use rolegate_server::config::GatewayConfig;
use rolegate_server::serve::ListenLimits;
use rolegate_testkit::for_each_version;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::frames::Connection;
use super::{ready, wire};
use crate::harness::{Gateway, NAME, Options};

const TIME: Duration = Duration::from_millis(500);
/// Until then nobody may be sent away.
const BEFORE: Duration = Duration::from_millis(450);
/// By then a connection has to be closed.
const AT_LAST: Duration = Duration::from_secs(4);

fn impatient() -> Options {
    Options {
        gateway: GatewayConfig {
            body_timeout: TIME,
            ..GatewayConfig::default()
        },
        listen: ListenLimits {
            header_timeout: TIME,
            ..ListenLimits::default()
        },
        ..Options::default()
    }
}

/// Says `first`, then goes on with `more` every 100 ms. What was answered until the gateway
/// closed the connection, and when; fails if it does not, or at once.
async fn drip(gateway: &Gateway, first: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address)
        .await
        .expect("it listens");
    stream.write_all(first.as_bytes()).await.expect("read");
    let start = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let mut received = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut received);
    let send = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if writer.write_all(more.as_bytes()).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = end => {}
        () = send => {}
        () = tokio::time::sleep(AT_LAST) => panic!("still open after {first:?}"),
    }
    assert!(start.elapsed() >= BEFORE, "{first:?}");
    String::from_utf8_lossy(&received).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_closes_the_connection() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, impatient()).await;
        let request = format!("GET /api/{NAME}/echo?t=x HTTP/1.1\r\nhost: x\r\n");
        let slow = async {
            tokio::join!(
                drip(&gateway, "", ""),
                drip(&gateway, "G", ""),
                drip(&gateway, &request, ""),
                drip(&gateway, &request, "x: y\r\n"),
                // Could become HTTP/2 until the next byte.
                drip(&gateway, "P", ""),
                drip(&gateway, "PRI * HTTP/2.0\r\n\r\nSM", ""),
            )
        };
        let others = async {
            for _ in 0..20 {
                let (status, _) = gateway.call(&token, "echo", r#"{"t": "x"}"#).await;
                assert_eq!(status.as_u16(), 200);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::join!(slow, others);
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_a_next_request_is_closed() {
    for_each_version(async |db| {
        let (gateway, _, _) = ready(db, impatient()).await;
        let request = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";
        let received = drip(&gateway, request, "").await;
        assert_eq!(wire::statuses(&received), [200]);
        // HTTP/2 without any request.
        let mut silent = Connection::open(gateway.address).await;
        let end = async { while silent.next().await.is_some() {} };
        tokio::time::timeout(AT_LAST, end).await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_408() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, impatient()).await;
        let head = |path: &str, length: &str| {
            format!(
                "POST /api/{NAME}{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\n{length}\r\n\r\n"
            )
        };
        let declared = head("/echo", "content-length: 100000");
        let chunked = head("/echo", "transfer-encoding: chunked");
        let envelope = head("", "content-length: 100000");
        let login = head("/login", "content-length: 100000");
        let slow = async {
            let answers = <[String; 5]>::from(tokio::join!(
                drip(&gateway, &declared, ""),
                drip(&gateway, &declared, " "),
                drip(&gateway, &chunked, "1\r\n \r\n"),
                drip(&gateway, &envelope, " "),
                drip(&gateway, &login, " "),
            ));
            for received in answers {
                assert_eq!(wire::statuses(&received), [408], "{received}");
                assert!(received.contains("\"invalid_request\""), "{received}");
            }
        };
        let others = async {
            for _ in 0..20 {
                let (status, _) = gateway.call(&token, "echo", r#"{"t": "x"}"#).await;
                assert_eq!(status.as_u16(), 200);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::join!(slow, others);

        let mut client = Connection::open(gateway.address).await;
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let path = format!("/api/{NAME}/echo");
        let open = client.request(1, ("POST", &path), &headers, false);
        assert!(client.send(&open).await);
        let answers = client.answers(&[1]).await;
        assert!(matches!(answers[0], Ok((408, _))), "{answers:?}");
    })
    .await;
}
