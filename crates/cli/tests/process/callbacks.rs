//! `rolegate serve callbacks` as a process: what it starts with, and an answer from outside.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use rolegate_auth::callback::{
    Action, Call, Key, SIGNATURE_HEADER, TIMESTAMP_HEADER, callback_url, legacy, sign,
};
use rolegate_model::{Clock as _, SystemClock};
use rolegate_pg::cluster::Source;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::place::{PATIENCE, Place, program, signal};

/// The secret of the variable that functions in the field have.
const SECRET: [u8; 32] = [7; 32];

/// A job that waits for the callback of this id.
async fn parked(place: &Place) -> (i64, String) {
    parked_with(place, None).await
}

/// The same with rules for its answers.
async fn parked_with(place: &Place, rules: Option<Value>) -> (i64, String) {
    let login = |user: &'static str| place.cluster.endpoint().connect(user, "mine");
    let superuser = login("postgres").await.expect("the superuser logs in");
    let worker = login("rolegate_worker").await.expect("the worker logs in");
    let sql = "select rolegate.enqueue('outside')";
    superuser.query_one(sql, &[]).await.expect("a job");
    let sql = "select r.worker, c.root, c.claim, c.ordinal, c.claimed_at \
        from rolegate.register_worker('t', '1', '{default}') r, \
        lateral rolegate.claim_jobs(r.worker, r.queue_ids, 1) c";
    let job = worker.query_one(sql, &[]).await.expect("it is claimed");
    let (id, claim, ordinal): (i64, i64, i16) = (job.get(1), job.get(2), job.get(3));
    let at: std::time::SystemTime = job.get(4);
    let sql = "select rolegate.register_callback($1, $2, $3, '1 hour', rules => $4)::text";
    let row = worker
        .query_one(sql, &[&claim, &ordinal, &at, &rules])
        .await;
    let callback: String = row.expect("registered").get(0);
    let sql = "select rolegate.finish_jobs($1, array[$2]::bigint[], array[$3]::smallint[], \
        array[$4]::timestamptz[], '{w}')";
    let worker_id: i64 = job.get(0);
    worker
        .query_one(sql, &[&worker_id, &claim, &ordinal, &at])
        .await
        .expect("it waits");
    (id, callback)
}

/// Starts the surface, and waits until it is ready.
pub(crate) async fn serve(place: &Place, section: &str) -> (Child, SocketAddr, SocketAddr) {
    let configuration = format!(
        "[metrics]\nbind = \"127.0.0.1:0\"\n[callbacks]\nbind = \"127.0.0.1:0\"\n{section}\n{}",
        place.database()
    );
    let file = place.path("callbacks.toml");
    std::fs::write(&file, configuration).expect("our directory");
    let arguments = ["serve", "callbacks", "--config", &file].map(str::to_owned);
    let mut child = program(&arguments)
        .env("AWA_CALLBACK_HMAC_SECRET", "07".repeat(32))
        .env("AWA_CALLBACK_PATH_PREFIX", "/hooks")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let ready = async {
        while let Some(line) = log.next_line().await.expect("text") {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "ready" {
                return event;
            }
        }
        panic!("it ended");
    };
    let event = tokio::time::timeout(PATIENCE, ready).await.expect("ready");
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    assert_eq!(
        event["gateway"],
        Value::Null,
        "there is nothing else: {event}"
    );
    let address = |name: &str| event[name].as_str().expect("an address").parse();
    let callbacks = address("callbacks").expect("an address");
    (child, callbacks, address("metrics").expect("an address"))
}

pub(crate) async fn stop(mut child: Child) {
    signal(&child, Signal::SIGTERM);
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert!(ended.expect("it ends").expect("a status").success());
}

/// Runs it where it must not start; what it says.
async fn refused(place: &Place, more: &[&str]) -> String {
    let file = place.path("callbacks-none.toml");
    let text = format!("[metrics]\nbind = \"127.0.0.1:0\"\n{}", place.database());
    std::fs::write(&file, text).expect("our directory");
    let mut arguments = ["serve", "callbacks", "--config", &file]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    let run = program(&arguments).stderr(Stdio::piped()).output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("it ends");
    let output = output.expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_outside_come_in_by_a_process_of_their_own() {
    let place = Place::start(Source::Wheel).await;
    let said = refused(&place, &[]).await;
    assert!(said.contains("callbacks.key_files"), "{said}");
    let said = refused(&place, &["--allow-unsigned", "--callbacks", "0.0.0.0:0"]).await;
    assert!(said.contains("loopback only"), "{said}");

    let key = Key::new("default", SECRET).expect("a key");
    std::fs::write(place.path("next.key"), "08".repeat(32)).expect("our directory");
    let next = Key::new("next", [8; 32]).expect("a key");
    let section = format!(
        "[callbacks.key_files]\nnext = \"{}\"",
        place.path("next.key")
    );
    let (child, address, metrics) = serve(&place, &section).await;
    let client = reqwest::Client::new();
    let body = r#"{"payload": {"paid": 1.10}}"#;
    // Both keys, the one of the variable and the one of the file.
    for key in [&key, &next] {
        let (job, id) = parked(&place).await;
        let url = callback_url(
            &format!("http://{address}"),
            "/hooks",
            &id,
            Action::Complete,
        );
        let timestamp = u64::try_from(SystemClock.now().as_second()).expect("a time");
        let call = Call {
            method: "POST",
            action: Action::Complete,
            id: &id,
            timestamp,
            body: body.as_bytes(),
        };
        let request = || {
            client
                .post(&url)
                .header("content-type", "application/json")
                .body(body)
        };
        // The id alone is not enough.
        let old = request().header(legacy::SIGNATURE_HEADER, legacy::sign(key, &id));
        assert_eq!(old.send().await.expect("an answer").status(), 401);
        let answer = request()
            .header(SIGNATURE_HEADER, sign(key, &call).expect("signed"))
            .header(TIMESTAMP_HEADER, timestamp)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer, json!({"id": job, "state": "completed"}));
    }

    // It needs no login but its own.
    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let superuser = superuser.expect("the superuser logs in");
    let sql = "select array_agg(distinct usename::text) from pg_stat_activity \
        where application_name = 'rolegate' and usename <> current_user";
    let row = superuser.query_one(sql, &[]).await.expect("the sessions");
    assert_eq!(row.get::<_, Vec<String>>(0), ["rolegate_receiver"]);
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{metrics}{path}"))
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    assert_eq!(get("/readyz").await, (200, "callbacks ok\n".to_owned()));
    let (_, counters) = get("/metrics").await;
    for line in [
        "rolegate_callbacks_total{action=\"complete\",outcome=\"ok\"} 2",
        "rolegate_callbacks_total{action=\"complete\",outcome=\"signature_invalid\"} 2",
    ] {
        assert!(counters.contains(line), "{counters}");
    }
    stop(child).await;

    // A function of the peer's, where that is switched on by name.
    let (child, address, _) = serve(&place, "legacy_signatures = true").await;
    let (job, id) = parked(&place).await;
    let url = callback_url(&format!("http://{address}"), "/hooks", &id, Action::Fail);
    let answer = client
        .post(url)
        .header("content-type", "application/json")
        .header(legacy::SIGNATURE_HEADER, legacy::sign(&key, &id))
        .timeout(Duration::from_secs(10))
        .body(r#"{"error": "no"}"#)
        .send()
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer, json!({"id": job, "state": "retryable"}));

    judged(&place, address, &key).await;
    stop(child).await;
    place.stop().await;
}

/// A job that waits for something in particular is answered by the peer's function.
async fn judged(place: &Place, address: SocketAddr, key: &Key) {
    let rules = json!({"filter": "payload.order == 17", "transform": "payload.total"});
    let (job, id) = parked_with(place, Some(rules)).await;
    let url = callback_url(
        &format!("http://{address}"),
        "/hooks",
        &id,
        Action::Complete,
    );
    let waiting = json!({"id": job, "state": "waiting_external", "ignored": true});
    let done = json!({"id": job, "state": "completed"});
    for (payload, status, expected) in [
        (json!({"order": 18}), 200, waiting),
        (json!({"total": 1}), 422, Value::Null),
        (json!({"order": 17, "total": 1}), 200, done),
    ] {
        let call = reqwest::Client::new()
            .post(&url)
            .header(legacy::SIGNATURE_HEADER, legacy::sign(key, &id))
            .json(&json!({"payload": payload}));
        let answer = call.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{payload}");
        let answer: Value = answer.json().await.expect("JSON");
        if status == 200 {
            assert_eq!(answer, expected);
        } else {
            assert_eq!(answer["code"], "callback_not_judged");
        }
    }
}
