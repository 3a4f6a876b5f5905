//! HTTP/2 without TLS, and what one of its connections may use up.

use std::time::{Duration, Instant};

use rolegate_server::serve::ListenLimits;
use rolegate_testkit::for_each_version;

use super::frames::{Connection, RESET, SETTINGS, frame, number};
use super::ready;
use crate::harness::{NAME, Options};

/// Error codes of RFC 9113.
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

#[tokio::test]
async fn calls_share_a_connection_that_starts_with_http2() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, Options::default()).await;
        let mut client = Connection::open(gateway.address).await;
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let get = client.get(1, &format!("/api/{NAME}/echo?t=one"), &token);
        let body = br#"{"t": "two"}"#;
        let path = format!("/api/{NAME}/echo");
        let mut post = client.request(3, ("POST", &path), &headers, false);
        post.extend(frame(super::frames::DATA, 1, 3, body));
        let unknown = client.get(5, "/nothing", &token);
        for request in [get, post, unknown] {
            assert!(client.send(&request).await);
        }
        let answers = client.answers(&[1, 3, 5]).await;
        assert_eq!(answers[0], Ok((200, "\"one\"".to_owned())));
        assert_eq!(answers[1], Ok((200, "\"two\"".to_owned())));
        let Ok((404, problem)) = &answers[2] else {
            panic!("{:?}", answers[2])
        };
        assert!(problem.contains("\"not_found\""), "{problem}");
    })
    .await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_others_answered() {
    for_each_version(async |db| {
        let options = Options {
            listen: ListenLimits {
                max_streams: 3,
                ..ListenLimits::default()
            },
            ..Options::default()
        };
        let (gateway, token, _) = ready(db, options).await;
        let mut client = Connection::open(gateway.address).await;
        let settings = client.next().await.expect("settings");
        assert_eq!(settings.kind, SETTINGS);
        let announced = settings
            .payload
            .chunks(6)
            .find(|setting| setting[..2] == [0, 3])
            .map(|setting| number(&setting[2..]));
        assert_eq!(announced, Some(3));

        let path = format!("/api/{NAME}/pause?seconds=0.7");
        let ids = [1, 3, 5, 7, 9];
        let requests: Vec<u8> = ids
            .iter()
            .flat_map(|id| client.get(*id, &path, &token))
            .collect();
        assert!(client.send(&requests).await);
        let answers = client.answers(&ids).await;
        for answer in &answers[..3] {
            assert_eq!(answer, &Ok((200, "\"paused\"".to_owned())));
        }
        for answer in &answers[3..] {
            assert_eq!(answer, &Err(REFUSED_STREAM));
        }
        let next = client.get(11, &format!("/api/{NAME}/echo?t=next"), &token);
        assert!(client.send(&next).await);
        let next = client.answers(&[11]).await;
        assert_eq!(next[0], Ok((200, "\"next\"".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn requests_that_are_reset_at_once_leave_no_work_behind() {
    for_each_version(async |db| {
        let (gateway, attacker, other) = ready(db, Options::default()).await;
        // Each would take a connection of the attacker's for ten seconds.
        let path = format!("/api/{NAME}/pause?seconds=10");
        let reset = |id: u32| frame(RESET, 0, id, &CANCEL.to_be_bytes());
        let flood = async {
            for _ in 0..4 {
                let mut client = Connection::open(gateway.address).await;
                for id in (1..2000).step_by(2) {
                    let mut both = client.get(id, &path, &attacker);
                    both.extend(reset(id));
                    // Ended by the gateway when it had enough.
                    if !client.send(&both).await {
                        break;
                    }
                }
            }
            // The same with calls that have begun.
            let mut client = Connection::open(gateway.address).await;
            for first in (1..1000).step_by(200) {
                let ids: Vec<u32> = (first..first + 200).step_by(2).collect();
                let requests: Vec<u8> = ids
                    .iter()
                    .flat_map(|id| client.get(*id, &path, &attacker))
                    .collect();
                assert!(client.send(&requests).await);
                tokio::time::sleep(Duration::from_millis(100)).await;
                let resets: Vec<u8> = ids.iter().flat_map(|id| reset(*id)).collect();
                assert!(client.send(&resets).await);
            }
        };
        let others = async {
            let mut slowest = Duration::ZERO;
            for _ in 0..30 {
                let start = Instant::now();
                let (status, body) = gateway.call(&other, "echo", r#"{"t": "x"}"#).await;
                assert_eq!((status.as_u16(), body.as_str()), (200, "\"x\""));
                slowest = slowest.max(start.elapsed());
            }
            slowest
        };
        let ((), slowest) = tokio::join!(flood, others);
        assert!(slowest < Duration::from_secs(3), "{slowest:?}");
        // Nobody waits for what was given up, not even the attacker.
        let start = Instant::now();
        let (status, body) = gateway.call(&attacker, "echo", r#"{"t": "x"}"#).await;
        assert_eq!((status.as_u16(), body.as_str()), (200, "\"x\""));
        assert!(start.elapsed() < Duration::from_secs(5));
        let superuser = db.superuser().await;
        let running = "select count(*) from pg_stat_activity where state = 'active' \
             and query like '%pause%' and pid <> pg_backend_pid()";
        let row = superuser.query_one(running, &[]).await.expect("counted");
        assert_eq!(row.get::<_, i64>(0), 0);
    })
    .await;
}
