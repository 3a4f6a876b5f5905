//! Several requests on one connection, bodies that wait to be asked for or come packed, and
//! methods without a body.

use http::Method;
use rolegate_testkit::for_each_version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ready, wire};
use crate::harness::{Gateway, NAME, Options, code};

/// The head of a request, without the lines about its body.
fn head(method: &str, path: &str, token: &str) -> String {
    format!(
        "{method} /api/{NAME}{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\n"
    )
}

async fn closed(gateway: &Gateway, message: &str) -> String {
    let received = wire::until_closed(gateway.address, message.as_bytes()).await;
    received.unwrap_or_else(|| panic!("still open after {message}"))
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_order() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        let body = r#"{"t": "third"}"#;
        let length = body.len();
        let message = [
            // The first takes longest.
            format!("{}\r\n", head("GET", "/pause?seconds=0.3", &token)),
            format!("{}\r\n", head("GET", "/echo?t=second", &token)),
            format!(
                "{}content-length: {length}\r\n\r\n{body}",
                head("POST", "/echo", &token)
            ),
            format!("{}\r\n", head("GET", "/echo?t=nobody", "no token")),
            format!(
                "{}connection: close\r\n\r\n",
                head("GET", "/echo?t=last", &token)
            ),
            format!("{}content-length: 0\r\n\r\n", head("POST", "/bump", &token)),
        ]
        .concat();
        let received = closed(&gateway, &message).await;
        // Nothing behind the one that closes the connection is read.
        assert_eq!(wire::statuses(&received), [200, 200, 200, 401, 200]);
        let mut from = 0;
        for expected in [
            "\"paused\"",
            "\"second\"",
            "\"third\"",
            "\"status\":401",
            "\"last\"",
        ] {
            let at = received[from..].find(expected);
            from += at.unwrap_or_else(|| panic!("{expected} after {from} in {received}"));
        }
        let (_, bumped) = gateway.call(&token, "bumped", "").await;
        assert_eq!(bumped, "false");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_waits_is_asked_for_only_if_it_is_wanted() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        let expecting = |length: &str| {
            let head = head("POST", "/echo", &token);
            format!("{head}connection: close\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
        };
        let body = r#"{"t": "waited"}"#;
        let mut stream = TcpStream::connect(gateway.address).await.expect("it listens");
        let message = expecting(&body.len().to_string());
        stream.write_all(message.as_bytes()).await.expect("read");
        let asked = "HTTP/1.1 100 Continue\r\n\r\n";
        let mut first = vec![0; asked.len()];
        let read = stream.read_exact(&mut first);
        let read = tokio::time::timeout(wire::PATIENCE, read).await;
        read.expect("an answer").expect("it stays open");
        assert_eq!(String::from_utf8_lossy(&first), asked);
        stream.write_all(body.as_bytes()).await.expect("read");
        let rest = wire::rest(&mut stream, wire::PATIENCE).await.expect("closed");
        assert_eq!(wire::statuses(&rest), [200]);
        assert!(rest.ends_with("\"waited\""), "{rest}");

        // Too large, or for nobody: the answer comes at once, and is the only one.
        let refused = closed(&gateway, &expecting("9000000000")).await;
        assert_eq!(wire::statuses(&refused), [413], "{refused}");
        let unknown = expecting("2").replace(NAME, "no_such_database");
        let unknown = closed(&gateway, &unknown).await;
        assert_eq!(wire::statuses(&unknown), [404], "{unknown}");
    })
    .await;
}

#[tokio::test]
async fn a_packed_body_is_refused_and_not_unpacked() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        for path in ["", "/echo", "/login"] {
            for coding in ["gzip", "br", "deflate", "zstd", "GZIP", "gzip, gzip"] {
                let request = gateway
                    .post(path, Some(&token), r#"{"t": "x"}"#)
                    .header("content-encoding", coding);
                let response = request.send().await.expect("an answer");
                assert_eq!(response.status().as_u16(), 415, "{path} {coding}");
                let text = response.text().await.expect("a body");
                assert!(
                    text.contains("unsupported_media_type"),
                    "{path} {coding}: {text}"
                );
            }
        }
        let plain = gateway
            .post("/echo", Some(&token), r#"{"t": "x"}"#)
            .header("content-encoding", "identity");
        let plain = plain.send().await.expect("an answer");
        assert_eq!(plain.status().as_u16(), 200);
    })
    .await;
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        let ask = |method: Method, path: &'static str| {
            let url = gateway.url(path);
            let request = gateway.client.request(method, url).bearer_auth(&token);
            async move { request.send().await.expect("an answer") }
        };
        for path in [
            "/echo?t=x",
            "/openapi.json",
            "/openrpc.json",
            "/no_such_function",
        ] {
            let get = ask(Method::GET, path).await;
            let head = ask(Method::HEAD, path).await;
            assert_eq!(head.status(), get.status(), "{path}");
            for name in [
                "content-type",
                "content-length",
                "etag",
                "cache-control",
                "vary",
            ] {
                let (head, get) = (head.headers().get(name), get.headers().get(name));
                assert_eq!(head, get, "{path} {name}");
            }
            assert!(head.bytes().await.expect("no body").is_empty(), "{path}");
        }
        assert_eq!(ask(Method::HEAD, "/bump").await.status().as_u16(), 405);
        // A body would be taken for the next answer.
        let message = [
            format!("{}\r\n", head("HEAD", "/long?n=1000", &token)),
            format!(
                "{}connection: close\r\n\r\n",
                head("GET", "/echo?t=next", &token)
            ),
        ]
        .concat();
        let received = closed(&gateway, &message).await;
        assert_eq!(wire::statuses(&received), [200, 200], "{received}");
        assert!(!received.contains("many words"), "{received}");
        assert!(received.ends_with("\"next\""), "{received}");

        // Without an origin, too, it is a question about the path, which runs nothing.
        let options = ask(Method::OPTIONS, "/bump").await;
        assert!(options.status().is_success(), "{}", options.status());
        assert!(options.bytes().await.expect("no body").is_empty());
        let (_, bumped) = gateway.call(&token, "bumped", "").await;
        assert_eq!(bumped, "false");
        let text = ask(Method::GET, "/bump")
            .await
            .text()
            .await
            .expect("a body");
        assert_eq!(code(&text), "method_not_allowed");
    })
    .await;
}
