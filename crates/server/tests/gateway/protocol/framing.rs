//! Messages whose end is disputed, that are too large, or that ask a path for what it has not.

use std::net::SocketAddr;

use http::Method;
use rolegate_server::config::GatewayConfig;
use rolegate_testkit::for_each_version;

use super::frames::Connection;
use super::{ready, wire};
use crate::harness::{Gateway, NAME, Options, code};

/// A call of `bump` that a confused server would take for a request of its own.
fn smuggled(token: &str) -> String {
    format!(
        "POST /api/{NAME}/bump HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-length: 0\r\n\r\n"
    )
}

async fn bumped(gateway: &Gateway, token: &str) -> bool {
    let (status, body) = gateway.call(token, "bumped", "").await;
    assert_eq!(status.as_u16(), 200, "{body}");
    body == "true"
}

async fn answers(address: SocketAddr, message: &str) -> Vec<u16> {
    let received = wire::until_closed(address, message.as_bytes()).await;
    let received = received.unwrap_or_else(|| panic!("still open after {message}"));
    wire::statuses(&received)
}

#[tokio::test]
async fn a_disputed_length_is_refused_and_nothing_behind_it_read() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        let post = format!("POST /api/{NAME}/echo HTTP/1.1\r\nhost: x\r\n");
        for lengths in [
            "content-length: 2\r\ncontent-length: 3\r\n",
            "content-length: 0\r\ncontent-length: 100\r\n",
            "content-length: 2, 3\r\n",
            "content-length: +2\r\n",
            "content-length: -2\r\n",
            "content-length: 0x2\r\n",
            "content-length: 2 2\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length : 2\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "transfer-encoding : chunked\r\n",
            "transfer-encoding:\u{b}chunked\r\n",
            "x: y\r\n transfer-encoding: chunked\r\n",
        ] {
            let message = format!("{post}{lengths}\r\n{{}}{}", smuggled(&token));
            let statuses = answers(gateway.address, &message).await;
            assert_eq!(statuses, [400], "{lengths:?}");
        }
        let old = format!(
            "POST /api/{NAME}/echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{}",
            smuggled(&token)
        );
        assert_eq!(answers(gateway.address, &old).await, [400]);
        assert!(!bumped(&gateway, &token).await);
    })
    .await;
}

#[tokio::test]
async fn after_a_chunked_body_no_other_request_is_read() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        let smuggled = smuggled(&token);
        let post = format!(
            "POST /api/{NAME}/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\n"
        );
        let length = 5 + smuggled.len();
        for lengths in [
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
        ] {
            let message = format!("{post}{lengths}\r\n0\r\n\r\n{smuggled}");
            let statuses = answers(gateway.address, &message).await;
            assert_eq!(statuses.len(), 1, "{lengths:?}: {statuses:?}");
        }
        for chunks in [
            "zz\r\n",
            "-1\r\n",
            "ffffffffffffffff1\r\n",
            "2\r\n{}x\r\n0\r\n\r\n",
            "2\n{}\n0\n\n",
        ] {
            let message = format!("{post}transfer-encoding: chunked\r\n\r\n{chunks}{smuggled}");
            let statuses = answers(gateway.address, &message).await;
            assert_eq!(statuses, [400], "{chunks:?}");
        }
        assert!(!bumped(&gateway, &token).await);
        // The same request on its own is one that would have been noticed.
        let alone = smuggled.replace("host: x", "host: x\r\nconnection: close");
        assert_eq!(answers(gateway.address, &alone).await, [200]);
        assert!(bumped(&gateway, &token).await);
    })
    .await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_problem_however_it_is_sent() {
    for_each_version(async |db| {
        let options = Options {
            gateway: GatewayConfig {
                max_body_bytes: 1000,
                ..GatewayConfig::default()
            },
            ..Options::default()
        };
        let (gateway, token, _) = ready(db, options).await;
        let head = |length: &str| {
            format!(
                "POST /api/{NAME}/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\nconnection: close\r\n{length}\r\n\r\n"
            )
        };
        let text = |length: usize| format!("{{\"t\": \"{}\"}}", "x".repeat(length - 9));
        let chunked = |length: usize| {
            let text = text(length);
            let (first, second) = text.split_at(600);
            let (a, b) = (first.len(), second.len());
            let head = head("transfer-encoding: chunked");
            format!("{head}{a:x}\r\n{first}\r\n{b:x}\r\n{second}\r\n0\r\n\r\n")
        };
        let whole = |length: usize| {
            let head = head(&format!("content-length: {length}"));
            format!("{head}{}", text(length))
        };
        for (message, expected) in [
            (chunked(1000), 200),
            (whole(1000), 200),
            (chunked(1001), 413),
            (whole(1001), 413),
            // Refused before any of it was sent.
            (head("content-length: 1001"), 413),
            (head("content-length: 9000000000000000000"), 413),
        ] {
            let received = wire::until_closed(gateway.address, message.as_bytes()).await;
            let received = received.expect("closed");
            assert_eq!(wire::statuses(&received), [expected], "{received}");
            if expected == 413 {
                assert!(
                    received.contains("content-type: application/problem+json"),
                    "{received}"
                );
                assert!(received.contains("\"body_too_large\""), "{received}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_over_the_limit_is_answered_431() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        let start = format!("GET /api/{NAME}/echo?t=x HTTP/1.1\r\nhost: x\r\nx: ");
        // Exactly what is read: unread bytes would reset the connection, and the answer be lost.
        let long = format!("{start}{}", "y".repeat(64 * 1024 - start.len()));
        assert_eq!(answers(gateway.address, &long).await, [431]);
        let many = format!(
            "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
            "x: y\r\n".repeat(200)
        );
        assert_eq!(answers(gateway.address, &many).await, [431]);

        let mut client = Connection::open(gateway.address).await;
        // Two of them, because a frame has 16 KiB at most.
        let half = "y".repeat(8100);
        let headers = [("x", half.as_str()), ("y", &half), ("z", "more")];
        let short = [("x", "y"), ("y", "z")];
        let path = format!("/api/{NAME}/nothing");
        for (id, headers) in [(1, &headers[..]), (3, &short[..])] {
            let request = client.request(id, ("GET", &path), headers, true);
            assert!(request.len() < 16 * 1024 + 9);
            assert!(client.send(&request).await);
        }
        let answers = client.answers(&[1, 3]).await;
        assert!(matches!(answers[0], Ok((431, _))), "{answers:?}");
        assert!(!matches!(answers[1], Ok((431, _)) | Err(_)), "{answers:?}");
        // A head below the limit, with a token, is a call.
        let (status, _) = gateway.call(&token, "echo", r#"{"t": "x"}"#).await;
        assert_eq!(status.as_u16(), 200);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        for (method, path, expected) in [
            (Method::GET, "", "POST"),
            (Method::DELETE, "", "POST"),
            (Method::PUT, "/echo", "GET,HEAD,POST"),
            (Method::PATCH, "/echo", "GET,HEAD,POST"),
            (Method::DELETE, "/no_such_function", "GET,HEAD,POST"),
            (Method::TRACE, "/echo", "GET,HEAD,POST"),
            (Method::GET, "/login", "POST"),
            (Method::POST, "/openapi.json", "GET,HEAD"),
            (Method::POST, "/openrpc.json", "GET,HEAD"),
            (Method::POST, "/events", "GET,HEAD"),
            // The path has GET, this function has not.
            (Method::GET, "/bump", "POST"),
        ] {
            let request = gateway
                .client
                .request(method.clone(), gateway.url(path))
                .bearer_auth(&token);
            let response = request.send().await.expect("an answer");
            assert_eq!(response.status().as_u16(), 405, "{method} {path}");
            let mut allowed: Vec<String> = response.headers()["allow"]
                .to_str()
                .expect("text")
                .split(',')
                .map(|method| method.trim().to_owned())
                .collect();
            allowed.sort_unstable();
            assert_eq!(allowed.join(","), expected, "{method} {path}");
            let kind = &response.headers()["content-type"];
            assert_eq!(kind, "application/problem+json", "{method} {path}");
            let body = response.text().await.expect("a body");
            assert_eq!(code(&body), "method_not_allowed", "{body}");
        }
        assert!(!bumped(&gateway, &token).await);
    })
    .await;
}
