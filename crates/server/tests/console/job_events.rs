//! What is in the queues, followed: what arrives, resuming, and the end of a stream.

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use rolegate_server::config::{GatewayConfig, Mode};
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use crate::harness::{Options, outcome};
use crate::jobs::Stage;
use crate::setup::{Console, People};

/// A stream as it arrives.
struct Followed {
    response: Response,
    received: String,
}

/// One message.
#[derive(Debug)]
struct Message {
    event: String,
    id: Option<String>,
    data: Value,
}

impl Followed {
    async fn open(console: &Console, token: &str, last: Option<&str>) -> Self {
        let path = "/v1/{database}/jobs/events";
        let mut request = console.request(Method::GET, path, Some(token));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            received: String::new(),
        }
    }

    /// The next message, within this time.
    async fn next_within(&mut self, time: Duration) -> Option<Message> {
        let read = async {
            loop {
                if let Some((message, rest)) = self.received.split_once("\n\n") {
                    let message = message.to_owned();
                    self.received = self.received.split_off(self.received.len() - rest.len());
                    if message.starts_with(':') {
                        continue;
                    }
                    return Some(message);
                }
                let chunk = self.response.chunk().await.expect("a chunk")?;
                self.received.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        let text = tokio::time::timeout(time, read).await.ok()??;
        let field = |name: &str| {
            let lines = text.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(name));
            values
                .next()
                .map(|value| value.trim_start_matches(' ').to_owned())
        };
        Some(Message {
            event: field("event:").unwrap_or_default(),
            id: field("id:"),
            data: serde_json::from_str(&field("data:").expect("data")).expect("JSON"),
        })
    }

    async fn next(&mut self) -> Message {
        self.next_within(Duration::from_secs(30))
            .await
            .expect("a message")
    }

    /// Waits for a state of the queue `default`; the messages until then.
    async fn until_available(&mut self, available: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().await;
            assert_eq!(message.event, "queues", "{message:?}");
            let queues = message.data["queues"].as_array().expect("a list");
            let there = queues
                .iter()
                .any(|queue| queue["queue"] == "default" && queue["available"] == available);
            messages.push(message);
            if there {
                return messages;
            }
        }
    }

    /// The last message, a problem.
    async fn end(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message.event == "error" {
                let more = self.next_within(Duration::from_secs(5)).await;
                assert!(more.is_none(), "{more:?}");
                return message.data;
            }
        }
    }
}

#[tokio::test]
async fn what_changes_arrives_and_can_be_resumed() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let console = &stage.console;
        console
            .send("PUT", "queues/mail", &stage.operator, None)
            .await
            .expect(201);
        let mut live = Followed::open(console, &stage.viewer, None).await;
        let first = live.next().await;
        assert_eq!(
            (&*first.event, &first.data["all"]),
            ("queues", &json!(true))
        );
        let as_listed = stage.get(&stage.viewer, "queues").await;
        assert_eq!(first.data["queues"], as_listed);

        // Nothing happens, nothing is said.
        assert!(
            live.next_within(Duration::from_millis(2500))
                .await
                .is_none()
        );

        stage.enqueued(&stage.producer, json!({"kind": "a"})).await;
        let told = live.until_available(1).await;
        let last = told.last().expect("one");
        assert_eq!(last.data["all"], false);
        let names: Vec<&Value> = last.data["queues"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|queue| &queue["queue"])
            .collect();
        assert_eq!(names, ["default"], "only what is different");
        let id = last.id.clone().expect("an id");
        drop(live);

        // Meanwhile nobody looks; what is known stays known.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mail = json!({"kind": "a", "queue": "mail"});
        stage.enqueued(&stage.producer, mail).await;
        let mut resumed = Followed::open(console, &stage.operator, Some(&id)).await;
        let message = resumed.next().await;
        assert_eq!(message.data["all"], false, "{message:?}");
        assert_eq!(message.data["queues"][0]["queue"], "mail");
        assert_eq!(message.data["queues"].as_array().map(Vec::len), Some(1));

        let id = message.id.expect("an id");
        let mut again = Followed::open(console, &stage.viewer, Some(&id)).await;
        assert!(
            again
                .next_within(Duration::from_millis(1500))
                .await
                .is_none()
        );
        // What is no id of ours can't be resumed: all of it.
        for other in ["nonsense", "0", "00000000000000000000000000000000.1"] {
            let mut anew = Followed::open(console, &stage.viewer, Some(other)).await;
            assert_eq!(anew.next().await.data["all"], true, "{other}");
        }
    })
    .await;
}

async fn ends_within_a_second(db: &TestDatabase, mode: Mode, revoke: &str, code: &str, jobs: u64) {
    let stage = Stage::set(db, mode).await;
    let mut live = Followed::open(&stage.console, &stage.viewer, None).await;
    let mut other = Followed::open(&stage.console, &stage.operator, None).await;
    live.next().await;
    other.next().await;
    let superuser = db.superuser().await;
    let sql = revoke.replace("{viewer}", &format!("\"{}\"", stage.people.viewer));
    superuser.batch_execute(&sql).await.expect("revoked");
    let revoked = Instant::now();
    let problem = live.end().await;
    assert_eq!(problem["code"], code, "{problem}");
    // A second on a machine that is not busy with other tests.
    assert!(
        revoked.elapsed() < Duration::from_secs(8),
        "{:?}",
        revoked.elapsed()
    );
    // The reader looked as the one who is gone; now as the other.
    stage.enqueued(&stage.producer, json!({"kind": "a"})).await;
    other.until_available(jobs).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    for_each_version(async |db| {
        let membership = "revoke rolegate_viewer from {viewer}";
        ends_within_a_second(db, Mode::Login, membership, "permission_denied", 1).await;
        let admission = "revoke {viewer} from rolegate_authenticator";
        ends_within_a_second(db, Mode::Assume, admission, "role_not_admitted", 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_with_the_process() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let console = &stage.console;
        let wanted = json!({
            "role": stage.people.operator,
            "scopes": {"surfaces": ["admin"], "functions": ["rolegate.queues"]},
        });
        let minted = console.minted(&stage.operator, &wanted).await;
        let token = minted["token"].as_str().expect("a token");
        let mut live = Followed::open(console, token, None).await;
        let mut other = Followed::open(console, &stage.viewer, None).await;
        live.next().await;
        other.next().await;
        let id = minted["token_id"].as_str().expect("an id");
        outcome(console.revoke(Some(&stage.operator), id)).await;
        assert_eq!(live.end().await["code"], "token_revoked");
        console.gateway.stop.cancel();
        assert_eq!(other.end().await["code"], "shutting_down");
    })
    .await;
}

#[tokio::test]
async fn streams_are_bounded_and_share_one_reader() {
    for_each_version(async |db| {
        let people = People::make(db, Mode::Login).await;
        let options = Options {
            gateway: GatewayConfig {
                max_streams: 5,
                ..GatewayConfig::default()
            },
            ..Options::default()
        };
        let superuser = db.superuser().await;
        let track = "do $$ begin execute format('alter database %I set track_functions = ''all''', \
             current_database()); end $$";
        superuser.batch_execute(track).await.expect("tracked");
        let console = Console::start_with(db, options).await;
        let viewer = console.gateway.token(&people.viewer).await;
        let producer = console.gateway.token(&people.producer).await;
        let mut streams = Vec::new();
        for _ in 0..5 {
            streams.push(Followed::open(&console, &viewer, None).await);
        }
        let path = "/v1/{database}/jobs/events";
        let (status, code, _) = outcome(console.request(Method::GET, path, Some(&viewer))).await;
        assert_eq!((status, code.as_str()), (503, "overloaded"));

        let began = Instant::now();
        for n in 1..=3 {
            let job = Some(json!({"kind": "a"}));
            console
                .send("POST", "jobs", &producer, job)
                .await
                .expect(201);
            for stream in &mut streams {
                stream.until_available(n).await;
            }
        }
        let seconds = began.elapsed().as_secs();
        drop(streams);
        // Counts of calls are told with a delay of up to a second or so.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let calls = "select coalesce(sum(calls), 0)::int8 from pg_stat_user_functions \
             where funcname = 'queues'";
        let row = superuser.query_one(calls, &[]).await.expect("counted");
        let calls: i64 = row.get(0);
        let most = i64::try_from(seconds).expect("small") + 3;
        assert!(
            calls >= 1 && calls <= most,
            "{calls} in {seconds} s for five streams"
        );
        // A place is free again.
        Followed::open(&console, &viewer, None).await.next().await;
    })
    .await;
}
