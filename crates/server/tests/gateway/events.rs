//! Events over SSE: who may watch, what arrives, resuming, and the end of a stream.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Response, StatusCode};
use rolegate_testkit::{TestDatabase, for_each_version};

use crate::harness::{Gateway, api, text};

/// The text of a stream as it arrives.
struct Stream {
    response: Response,
    received: String,
}

impl Stream {
    async fn open(gateway: &Gateway, token: &str, query: &str) -> Self {
        let request = gateway.get(&format!("/events?channels=orders{query}"), Some(token));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            response,
            received: String::new(),
        }
    }

    /// Reads until `wanted` has arrived; fails after five seconds.
    async fn until(&mut self, wanted: &str) {
        let read = async {
            while !self.received.contains(wanted) {
                match self.response.chunk().await.expect("a chunk") {
                    Some(chunk) => self.received.push_str(&String::from_utf8_lossy(&chunk)),
                    None => panic!("ended without {wanted:?}: {}", self.received),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .unwrap_or_else(|_| panic!("no {wanted:?} in {:?}", self.received));
    }

    /// The id of the event whose data has `text`.
    fn id_of(&self, text: &str) -> String {
        let event = self
            .received
            .split("\n\n")
            .find(|event| event.contains(text))
            .expect("there");
        let line = event
            .lines()
            .find_map(|line| line.strip_prefix("id: "))
            .expect("an id");
        line.to_owned()
    }
}

async fn ready(db: &TestDatabase) -> (Gateway, String, String) {
    let watcher = db.create_role("watcher").await;
    let other = db.create_role("other").await;
    let definitions = format!(
        "create function api.may_watch() returns boolean language sql stable \
             as 'select true'; \
         revoke execute on function api.may_watch() from public; \
         grant execute on function api.may_watch() to \"{watcher}\"; \
         select rolegate.channel('orders', 'api.may_watch');"
    );
    api(db, &[&watcher, &other], &definitions).await;
    let gateway = Gateway::start(db).await;
    (gateway, watcher, other)
}

async fn emit(db: &TestDatabase, payload: &str) {
    let owner = db.superuser().await;
    owner
        .execute(
            "select rolegate.emit('orders', $1::text::jsonb)",
            &[&payload],
        )
        .await
        .expect("emitted");
}

#[tokio::test]
async fn committed_events_arrive_and_can_be_resumed() {
    for_each_version(async |db| {
        let (gateway, watcher, _) = ready(db).await;
        let token = gateway.token(&watcher).await;
        let mut live = Stream::open(&gateway, &token, "").await;
        emit(db, r#"{"n": 1}"#).await;
        live.until(r#""n": 1"#).await;
        let id = live.id_of(r#""n": 1"#);

        // One that is rolled back is nobody's; the next one arrives.
        let owner = db.superuser().await;
        owner
            .batch_execute("begin; select rolegate.emit('orders', '{\"n\": 666}'); rollback")
            .await
            .expect("rolled back");
        emit(db, r#"{"n": 2}"#).await;
        live.until(r#""n": 2"#).await;
        assert!(!live.received.contains("666"), "{}", live.received);
        drop(live);

        emit(db, r#"{"n": 3}"#).await;
        let mut resumed = Stream::open(&gateway, &token, &format!("&last_event_id={id}")).await;
        resumed.until(r#""n": 3"#).await;
        assert!(
            resumed.received.contains(r#""n": 2"#),
            "{}",
            resumed.received
        );
        assert!(
            !resumed.received.contains(r#""n": 1"#),
            "{}",
            resumed.received
        );

        // What is no cursor of ours can't be resumed, and the client is told.
        let mut lost = Stream::open(&gateway, &token, "&last_event_id=nonsense").await;
        lost.until("event: gap").await;
    })
    .await;
}

#[tokio::test]
async fn only_who_may_watches_and_a_revoked_right_ends_the_stream() {
    for_each_version(async |db| {
        let (gateway, watcher, other) = ready(db).await;
        let denied = gateway.token(&other).await;
        for query in ["/events?channels=orders", "/events?channels=undeclared"] {
            let (status, body) = text(gateway.get(query, Some(&denied))).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
            assert!(body.contains("channel_denied"), "{body}");
        }
        let token = gateway.token(&watcher).await;
        let mut live = Stream::open(&gateway, &token, "").await;
        let owner = db.superuser().await;
        let revoke = format!("revoke rolegate_admitted from \"{watcher}\"");
        owner.batch_execute(&revoke).await.expect("revoked");
        live.until("event: error").await;
        live.until("role_not_admitted").await;
        // That was the last message.
        let rest = live.response.bytes_stream().collect::<Vec<_>>();
        tokio::time::timeout(Duration::from_secs(5), rest)
            .await
            .expect("the stream ended");
    })
    .await;
}
