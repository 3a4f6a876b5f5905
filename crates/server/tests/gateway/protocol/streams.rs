//! Event streams: they live while nothing happens, and say why they end.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response};
use rolegate_model::RoleName;
use rolegate_server::config::GatewayConfig;
use rolegate_testkit::{TestDatabase, for_each_version};
use secrecy::ExposeSecret as _;

use crate::harness::{Gateway, Options, api};

async fn ready(db: &TestDatabase) -> (Gateway, String) {
    let watcher = db.create_role("watcher").await;
    let definitions = "create table public.open as select true as is_open; \
         create function api.may_watch() returns boolean language sql stable security definer \
             set search_path = pg_catalog, public as 'select is_open from open'; \
         select rolegate.channel('orders', 'api.may_watch');";
    api(db, &[&watcher], definitions).await;
    let options = Options {
        gateway: GatewayConfig {
            heartbeat: Duration::from_millis(200),
            check_again: Duration::from_millis(500),
            ..GatewayConfig::default()
        },
        ..Options::default()
    };
    (Gateway::start_with(db, options).await, watcher)
}

async fn open(request: RequestBuilder) -> Response {
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // Compressed, it would wait for more.
    assert_eq!(response.headers().get("content-encoding"), None);
    response
}

/// What arrives until it has `wanted`, or without one until the stream ends.
async fn read(response: &mut Response, wanted: Option<&str>) -> String {
    let mut received = String::new();
    let all = async {
        while wanted.is_none_or(|wanted| !received.contains(wanted)) {
            match response.chunk().await.expect("a chunk") {
                Some(chunk) => received.push_str(&String::from_utf8_lossy(&chunk)),
                None => break,
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), all).await;
    assert!(ended.is_ok(), "no {wanted:?} in {received:?}");
    received
}

/// The data of the one event of this kind.
fn data(received: &str, kind: &str) -> serde_json::Value {
    let start = format!("event: {kind}\n");
    let mut events = received
        .split("\n\n")
        .filter(|event| event.contains(&start));
    let event = events.next().unwrap_or_else(|| panic!("{received}"));
    assert_eq!(events.next(), None, "{received}");
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.expect("data")).expect("JSON")
}

/// Emits an event; its number.
async fn emit(db: &TestDatabase, n: i32) {
    let owner = db.superuser().await;
    let sql = format!("select rolegate.emit('orders', '{{\"n\": {n}}}')");
    owner.batch_execute(&sql).await.expect("emitted");
}

#[tokio::test]
async fn a_quiet_stream_has_heartbeats_and_its_token_ends_it() {
    for_each_version(async |db| {
        let (gateway, watcher) = ready(db).await;
        let role = RoleName::new(&watcher).expect("a name");
        let token = gateway
            .database
            .sign_for(&role, Duration::from_secs(3))
            .await
            .expect("signed");
        let start = Instant::now();
        let request = gateway
            .get("/events?channels=orders", Some(token.expose_secret()))
            .header("accept-encoding", "gzip");
        let mut stream = open(request).await;
        let first = read(&mut stream, Some(": heartbeat\n\n")).await;
        assert!(!first.contains("event:"), "{first}");
        emit(db, 1).await;
        let event = read(&mut stream, Some("\"n\": 1")).await;
        assert!(!event.contains("event: error"), "{event}");
        let last = read(&mut stream, None).await;
        let problem = data(&last, "error");
        assert_eq!(problem["code"], "token_expired", "{last}");
        assert_eq!(problem["status"], 401, "{last}");
        assert!(last.ends_with("\n\n"), "{last:?}");
        let lived = start.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(6)).contains(&lived),
            "{lived:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_open_stream_has_all_that_is_emitted_from_then_on() {
    for_each_version(async |db| {
        let (gateway, watcher) = ready(db).await;
        let token = gateway.token(&watcher).await;
        let owner = db.superuser().await;
        // Others ask, so that whoever reads events for all has to wait for a connection.
        let mut others = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let request = gateway.get("/events?channels=none", Some(&token));
            others.spawn(async move {
                loop {
                    let request = request.try_clone().expect("no body");
                    let answer = request.send().await.expect("an answer");
                    assert_eq!(answer.status().as_u16(), 403);
                }
            });
        }
        for n in 0..20 {
            // The first on its channel, each time.
            let mut stream = open(gateway.get("/events?channels=orders", Some(&token))).await;
            let sql = format!("select rolegate.emit('orders', '{{\"n\": {n}}}')");
            owner.batch_execute(&sql).await.expect("emitted");
            read(&mut stream, Some(&format!("\"n\": {n}}}"))).await;
            drop(stream);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        others.abort_all();
    })
    .await;
}

/// Nothing in the catalog changes, so only asking again can tell.
#[tokio::test]
async fn a_channel_that_is_closed_to_the_watcher_ends_the_stream() {
    for_each_version(async |db| {
        let (gateway, watcher) = ready(db).await;
        let token = gateway.token(&watcher).await;
        let mut stream = open(gateway.get("/events?channels=orders", Some(&token))).await;
        // It was asked again, and the answer was still yes.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        emit(db, 1).await;
        let before = read(&mut stream, Some("\"n\": 1")).await;
        assert!(!before.contains("event: error"), "{before}");
        let superuser = db.superuser().await;
        superuser
            .batch_execute("update public.open set is_open = false")
            .await
            .expect("closed");
        let last = read(&mut stream, None).await;
        let problem = data(&last, "error");
        assert_eq!(problem["code"], "channel_denied", "{last}");
        assert_eq!(problem["status"], 403, "{last}");
        // Nothing is on it for who asks now.
        let again = gateway.get("/events?channels=orders", Some(&token));
        assert_eq!(
            again.send().await.expect("an answer").status().as_u16(),
            403
        );
    })
    .await;
}

#[tokio::test]
async fn who_resumes_before_the_window_is_told_what_is_missing() {
    for_each_version(async |db| {
        let (gateway, watcher) = ready(db).await;
        let token = gateway.token(&watcher).await;
        let watch = || gateway.get("/events?channels=orders", Some(&token));
        let mut live = open(watch()).await;
        for n in 1..=3 {
            emit(db, n).await;
        }
        let received = read(&mut live, Some("\"n\": 3")).await;
        let ids: Vec<&str> = received
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .collect();
        assert_eq!(ids.len(), 3, "{received}");
        // The first two are older than what is kept.
        let superuser = db.superuser().await;
        superuser
            .batch_execute("select rolegate.event_prune(interval '-1 hour', 2)")
            .await
            .expect("pruned");
        emit(db, 4).await;

        // Both ways to say where one was.
        let header = watch().header("last-event-id", ids[0]);
        let query = format!("/events?channels=orders&last_event_id={}", ids[0]);
        for request in [header, gateway.get(&query, Some(&token))] {
            let mut late = open(request).await;
            let told = read(&mut late, Some("event: gap")).await;
            assert!(!told.contains("id: "), "{told}");
            let told = told + &read(&mut late, Some("\n\n")).await;
            assert!(data(&told, "gap")["message"].is_string(), "{told}");
            // It goes on with what is new, and does not pretend that the rest is all.
            emit(db, 5).await;
            let new = read(&mut late, Some("\"n\": 5")).await;
            assert!(
                !told.contains("\"n\": 3") && !new.contains("\"n\": 3"),
                "{told}{new}"
            );
        }
        // The last that is gone is the first to resume from without a gap.
        let mut in_time = open(watch().header("last-event-id", ids[1])).await;
        let resumed = read(&mut in_time, Some("\"n\": 4")).await;
        assert!(resumed.contains("\"n\": 3"), "{resumed}");
        assert!(!resumed.contains("event: gap"), "{resumed}");
    })
    .await;
}
