//! What the listener puts up with.

use std::time::{Duration, Instant};

use reqwest::Method;
use rolegate_auth::callback::{Action, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use rolegate_testkit::for_each_version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Answer, Desk, PREFIX, Receiver, current, now, signature};

#[tokio::test]
async fn nothing_else_is_on_the_listener() {
    for_each_version(async |db| {
        let receiver = Receiver::start(db).await;
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for path in [
            "/",
            "/livez",
            "/metrics",
            "/readyz",
            "/api/app",
            "/api/app/f",
            "/v1/app/tokens",
            "/.well-known/jwks.json",
            "/api/callbacks",
            "/api/callbacks/",
            "/complete",
            &format!("{PREFIX}/{id}"),
            &format!("{PREFIX}/{id}/"),
            &format!("{PREFIX}/{id}/cancel"),
            &format!("{PREFIX}/{id}/Complete"),
            &format!("{PREFIX}/{id}/complete/"),
            &format!("{PREFIX}/{id}/complete/x"),
            &format!("/x{PREFIX}/{id}/complete"),
            &format!("/API/callbacks/{id}/complete"),
        ] {
            for method in [Method::POST, Method::GET] {
                let url = format!("http://{}{path}", receiver.address);
                let answer = receiver.client.request(method, url).send().await.unwrap();
                Answer::of(answer).await.refused(404, "not_found");
            }
        }
        // No id is none.
        let nothing = receiver.bare("", Action::Complete, "").send().await;
        Answer::of(nothing.unwrap()).await.refused(404, "not_found");
        for action in Action::ALL {
            for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
                let request = receiver.client.request(method, receiver.url(id, action));
                let answer = Answer::of(request.send().await.unwrap()).await;
                answer.refused(405, "method_not_allowed");
                assert_eq!(answer.headers["allow"], "POST");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_is_json_of_a_bounded_size() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, id) = desk.parked().await;
        let huge = format!("{{\"payload\": \"{}\"}}", "x".repeat(5000));
        receiver
            .call(&id, Action::Complete, &huge)
            .await
            .refused(413, "body_too_large");
        let deep = format!("{{\"payload\": {}{}}}", "[".repeat(1500), "]".repeat(1500));
        for body in [
            "x",
            "[]",
            "5",
            "null",
            "{",
            "{} {}",
            "\u{feff}{}",
            "{\"payload\": 1, \"payload\": 2}",
            // PostgreSQL has no such letter.
            r#"{"payload": "\u0000"}"#,
            r#"{"payload": "\ud800"}"#,
        ] {
            let answer = receiver.call(&id, Action::Complete, body).await;
            answer.refused(400, "invalid_request");
            assert_eq!(desk.place(job.root).await, "parked waiting 0", "{body}");
        }
        let answer = receiver
            .call(&id, Action::Fail, r#"{"error": "a\u0000b"}"#)
            .await;
        answer.refused(400, "invalid_request");
        // Kinds of bodies.
        let at = now();
        for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
            let request = receiver
                .client
                .post(receiver.url(&id, Action::Complete))
                .header(
                    SIGNATURE_HEADER,
                    signature(&current(), &id, Action::Complete, "{}", at),
                )
                .header(TIMESTAMP_HEADER, at)
                .header(name, value)
                .body("{}");
            let answer = Answer::of(request.send().await.unwrap()).await;
            answer.refused(415, "unsupported_media_type");
        }
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        // Deep and unusual, but JSON.
        let answer = receiver.call(&id, Action::Complete, &deep).await;
        assert_eq!(answer.state(), "completed");
    })
    .await;
}

#[tokio::test]
async fn a_slow_body_is_not_waited_for() {
    for_each_version(async |db| {
        let receiver = Receiver::start(db).await;
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let mut stream = TcpStream::connect(receiver.address).await.unwrap();
        let head = format!(
            "POST {PREFIX}/{id}/complete HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: 100\r\nconnection: close\r\n\r\n{{"
        );
        let start = Instant::now();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(start.elapsed() >= Duration::from_millis(500));
    })
    .await;
}

#[tokio::test]
async fn who_guesses_ids_has_to_wait() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, id) = desk.parked().await;
        // Without a key nobody uses it up.
        for _ in 0..70 {
            let answer = receiver
                .bare(&id, Action::Complete, "")
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 401);
        }
        let mut statuses = Vec::new();
        for n in 0..200 {
            let guess = format!("0f8fad5b-d9cb-469f-a165-70867728{n:04}");
            let answer = receiver.call(&guess, Action::Complete, "").await;
            statuses.push(answer.status);
            if answer.status == 429 {
                let wait: u64 = answer.headers["retry-after"]
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                assert!((1..=60).contains(&wait), "{wait}");
                break;
            }
            answer.refused(404, "callback_not_found");
        }
        assert_eq!(statuses.last(), Some(&429), "{}", statuses.len());
        assert!(statuses.len() > 60);
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
    })
    .await;
}
