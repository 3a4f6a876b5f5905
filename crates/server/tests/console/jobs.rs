//! Jobs over HTTP: their life, who sees them, pages, and what is refused.

use rolegate_server::config::Mode;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use crate::harness::Options;
use crate::setup::{Console, People};

/// A console, and tokens of those who use it.
pub(crate) struct Stage {
    pub(crate) console: Console,
    pub(crate) people: People,
    pub(crate) producer: String,
    pub(crate) colleague: String,
    pub(crate) viewer: String,
    pub(crate) operator: String,
}

impl Stage {
    pub(crate) async fn set(db: &TestDatabase, mode: Mode) -> Self {
        let people = People::make(db, mode).await;
        let options = Options {
            mode,
            ..Options::default()
        };
        let console = Console::start_with(db, options).await;
        let token = async |role: &str| console.gateway.token(role).await;
        Self {
            producer: token(&people.producer).await,
            colleague: token(&people.colleague).await,
            viewer: token(&people.viewer).await,
            operator: token(&people.operator).await,
            people,
            console,
        }
    }

    /// Enqueues, and expects to: the id.
    pub(crate) async fn enqueued(&self, token: &str, job: Value) -> i64 {
        let made = self.console.send("POST", "jobs", token, Some(job)).await;
        made.expect(201)["id"].as_i64().expect("an id")
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Value {
        self.console
            .send("GET", path, token, None)
            .await
            .expect(200)
    }

    /// Ids of a list.
    pub(crate) async fn ids(&self, token: &str, path: &str) -> Vec<i64> {
        let rows = self.get(token, path).await;
        let rows = rows.as_array().expect("a list");
        rows.iter()
            .map(|row| row["id"].as_i64().expect("an id"))
            .collect()
    }
}

/// A job with everything that one can be given, as it is shown afterwards.
async fn enqueued_with_all(stage: &Stage) -> i64 {
    let Stage {
        console, producer, ..
    } = stage;
    let wanted = json!({
        "kind": "print", "priority": 3, "tags": ["paper"], "metadata": {"from": "a test"},
        "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "deadline": 2.5,
        "max_attempts": 3,
    });
    // No number is changed on its way, so this is text.
    let mut text = wanted.to_string();
    text.truncate(text.len() - 1);
    text.push_str(r#","args":{"n":1.10,"m":123456789012345678901234567890}}"#);
    let response = console
        .request(reqwest::Method::POST, "/v1/{database}/jobs", Some(producer))
        .header("content-type", "application/json")
        .body(text)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status().as_u16(), 201);
    let location = response.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    let answer: Value = response.json().await.expect("JSON");
    let id = answer["id"].as_i64().expect("an id");
    assert_eq!(location, format!("/v1/app/jobs/{id}"));

    let there = console.request(reqwest::Method::GET, &location, Some(producer));
    let (_, _, body) = crate::harness::outcome(there).await;
    assert!(
        body.contains("1.10") && body.contains("123456789012345678901234567890"),
        "{body}"
    );
    let job: Value = serde_json::from_str(&body).expect("JSON");
    for (member, value) in [
        ("kind", json!("print")),
        ("queue", json!("default")),
        ("state", json!("available")),
        ("priority", json!(3)),
        ("max_attempts", json!(3)),
        ("attempt", json!(0)),
        ("tags", json!(["paper"])),
        ("metadata", json!({"from": "a test"})),
        ("trace", wanted["trace"].clone()),
        ("deadline_seconds", json!(2.5)),
        ("errors", json!([])),
        ("enqueued_by", json!(stage.people.producer)),
    ] {
        assert_eq!(job[member], value, "{member} of {job}");
    }
    id
}

async fn life(db: &TestDatabase, mode: Mode) {
    let stage = Stage::set(db, mode).await;
    let Stage {
        console,
        producer,
        colleague,
        viewer,
        operator,
        ..
    } = &stage;
    let id = enqueued_with_all(&stage).await;

    // Who sees it.
    let path = format!("jobs/{id}");
    for (token, sees) in [
        (producer, true),
        (colleague, false),
        (viewer, true),
        (operator, true),
    ] {
        let answer = console.send("GET", &path, token, None).await;
        assert_eq!(answer.status == 200, sees, "{}", answer.body);
        assert!(sees || answer.refused() == (404, "not_found", None));
        let listed = stage.ids(token, "jobs?state=available&kind=print").await;
        assert_eq!(listed.contains(&id), sees);
        let tagged = stage.ids(token, "jobs?tag=paper&limit=1").await;
        assert_eq!(tagged.contains(&id), sees);
        assert!(stage.ids(token, "jobs?tag=pape").await.is_empty());
    }

    // Who may cancel it.
    let cancel = format!("jobs/{id}/cancel");
    let reason = || Some(json!({"reason": "printed by hand"}));
    for (token, expected) in [
        (viewer, (403, "permission_denied", None)),
        (colleague, (404, "not_found", None)),
    ] {
        let answer = console.send("POST", &cancel, token, reason()).await;
        assert_eq!(answer.refused(), expected, "{}", answer.body);
    }
    assert_eq!(stage.get(producer, &path).await["state"], "available");
    let job = console
        .send("POST", &cancel, producer, reason())
        .await
        .expect(200);
    assert_eq!(
        (&job["state"], &job["reason"]),
        (&json!("cancelled"), &json!("printed by hand"))
    );
    assert!(job["finalized_at"].is_string(), "{job}");
    let again = console.send("POST", &cancel, producer, None).await;
    assert_eq!(again.refused(), (409, "job_conflict", None));

    // Only operators retry.
    let retry = format!("jobs/{id}/retry");
    let change = || Some(json!({"args": [1.0], "priority": 1, "queue": "default"}));
    let answer = console.send("POST", &retry, producer, change()).await;
    assert_eq!(answer.refused(), (403, "permission_denied", None));
    let job = console
        .send("POST", &retry, operator, change())
        .await
        .expect(200);
    assert_eq!(
        (&job["state"], &job["priority"]),
        (&json!("available"), &json!(1))
    );
    assert_eq!(job["args"].to_string(), "[1.0]");
    let again = console.send("POST", &retry, operator, None).await;
    assert_eq!(again.refused(), (409, "job_conflict", None));
    let nobodys = console
        .send("POST", "jobs/9999999/retry", operator, None)
        .await;
    assert_eq!(nobodys.refused(), (404, "not_found", None));
}

#[tokio::test]
async fn a_job_is_seen_and_decided_by_those_who_may() {
    for_each_version(async |db| {
        life(db, Mode::Login).await;
        life(db, Mode::Assume).await;
    })
    .await;
}

#[tokio::test]
async fn several_jobs_are_decided_in_one_transaction() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let Stage { console, .. } = &stage;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(stage.enqueued(&stage.producer, json!({"kind": "a"})).await);
        }
        let other = stage.enqueued(&stage.colleague, json!({"kind": "a"})).await;
        let body = |ids: &[i64]| Some(json!({"ids": ids}));
        // Not the colleague's, and each once.
        let asked = [ids[1], ids[0], ids[0], other, 9_999_999];
        let answer = console
            .send("POST", "jobs/bulk-cancel", &stage.producer, body(&asked))
            .await;
        assert_eq!(
            answer.expect(200),
            json!([{"id": ids[0], "state": "cancelled"}, {"id": ids[1], "state": "cancelled"}])
        );
        assert_eq!(
            stage.get(&stage.viewer, &format!("jobs/{other}")).await["state"],
            "available"
        );
        assert_eq!(
            stage.get(&stage.viewer, &format!("jobs/{}", ids[2])).await["state"],
            "available"
        );
        let all: Vec<i64> = ids.iter().copied().chain([other]).collect();
        let answer = console
            .send("POST", "jobs/bulk-retry", &stage.operator, body(&all))
            .await;
        let states = answer.expect(200);
        assert_eq!(
            states,
            json!([{"id": ids[0], "state": "available"}, {"id": ids[1], "state": "available"}])
        );
        assert_eq!(
            stage.get(&stage.viewer, &format!("jobs/{}", ids[0])).await["state"],
            "available"
        );
        let answer = console
            .send("POST", "jobs/bulk-retry", &stage.producer, body(&all))
            .await;
        assert_eq!(answer.refused(), (403, "permission_denied", None));
    })
    .await;
}

#[tokio::test]
async fn pages_have_every_job_once() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        stage
            .console
            .send("PUT", "queues/a%20b%2Fc", &stage.operator, None)
            .await
            .expect(201);
        let mut expected = Vec::new();
        for n in 0..7 {
            let queue = if n % 3 == 0 { "default" } else { "a b/c" };
            let job = json!({"kind": "page", "queue": queue});
            let id = stage.enqueued(&stage.producer, job).await;
            if queue == "a b/c" {
                expected.push(id);
            }
        }
        expected.reverse();
        let mut found = Vec::new();
        let mut path = "jobs?queue=a+b%2Fc&limit=2".to_owned();
        for _ in 0..10 {
            let answer = stage.console.send("GET", &path, &stage.viewer, None).await;
            let link = answer
                .headers
                .get("link")
                .map(|link| link.to_str().expect("text").to_owned());
            let rows = answer.expect(200);
            let rows = rows.as_array().expect("a list").clone();
            assert!(rows.len() <= 2);
            found.extend(rows.iter().filter_map(|row| row["id"].as_i64()));
            let Some(link) = link else { break };
            let target = link
                .strip_prefix("</v1/app/")
                .and_then(|link| link.split_once('>'));
            let (target, rest) = target.expect("a target");
            assert_eq!(rest, "; rel=\"next\"");
            path = target.to_owned();
        }
        assert_eq!(found, expected);
    })
    .await;
}

#[tokio::test]
async fn a_unique_key_is_one_jobs() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let job = json!({"kind": "daily", "unique_key": "2026-12-24"});
        let id = stage.enqueued(&stage.producer, job.clone()).await;
        let again = stage
            .console
            .send("POST", "jobs", &stage.producer, Some(job.clone()))
            .await;
        assert_eq!(again.refused(), (409, "job_conflict", None));
        let mut existing = job;
        existing["on_conflict"] = json!("existing");
        assert_eq!(stage.enqueued(&stage.producer, existing).await, id);
        let later = json!({"kind": "later", "run_at": "2999-01-01T00:00:00+01:00"});
        let id = stage.enqueued(&stage.producer, later).await;
        let job = stage.get(&stage.producer, &format!("jobs/{id}")).await;
        assert_eq!(job["state"], "scheduled");
        assert_eq!(job["run_at"], "2998-12-31T23:00:00+00:00");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        for (method, path, body, expected) in [
            ("POST", "jobs", json!({}), "kind"),
            ("POST", "jobs", json!({"kind": ""}), "kind"),
            ("POST", "jobs", json!({"kind": "a\u{0}"}), "kind"),
            (
                "POST",
                "jobs",
                json!({"kind": "a", "queue": "nowhere"}),
                "queue",
            ),
            (
                "POST",
                "jobs",
                json!({"kind": "a", "priority": 5}),
                "priority",
            ),
            (
                "POST",
                "jobs",
                json!({"kind": "a", "run_at": "soon"}),
                "run_at",
            ),
            (
                "POST",
                "jobs",
                json!({"kind": "a", "tags": vec!["t"; 21]}),
                "tags",
            ),
            (
                "POST",
                "jobs",
                json!({"kind": "a", "metadata": []}),
                "metadata",
            ),
            (
                "POST",
                "jobs",
                json!({"kind": "a", "deadline": 0}),
                "deadline",
            ),
            ("POST", "jobs", json!({"kind": "a", "kinds": 1}), "kinds"),
            (
                "POST",
                "jobs",
                json!({"kind": "a", "limit_key": "k", "ordering_key": "k"}),
                "limit_key",
            ),
            ("POST", "jobs", json!([]), "body"),
            ("POST", "jobs/bulk-cancel", json!({"ids": []}), "ids"),
            (
                "POST",
                "jobs/bulk-cancel",
                json!({"ids": vec![1; 101]}),
                "ids",
            ),
            ("POST", "jobs/0/cancel", json!({}), "id"),
            ("POST", "jobs/x/cancel", json!({}), "id"),
            (
                "POST",
                "jobs/1/cancel",
                json!({"reason": "x".repeat(1001)}),
                "reason",
            ),
        ] {
            let answer = stage
                .console
                .send(method, path, &stage.producer, Some(body.clone()))
                .await;
            assert_eq!(
                answer.refused(),
                (400, "invalid_params", Some(expected)),
                "{path} {body}"
            );
            assert!(answer.body["hint"].is_string(), "{}", answer.body);
        }
        let none = stage.ids(&stage.viewer, "jobs").await;
        assert!(none.is_empty(), "something was enqueued: {none:?}");
    })
    .await;
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_named() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        for (path, expected) in [
            ("jobs?state=gone", "state"),
            ("jobs?queue=nowhere", "queue"),
            ("jobs?tag=", "tag"),
            ("jobs?tags=a", "tags"),
            ("jobs?limit=1001", "limit"),
            ("jobs?before_id=-1", "before_id"),
            ("jobs/99999999999999999999", "id"),
            ("jobs/1?full=true", "full"),
            ("dlq?state=failed", "state"),
            ("queues?queue=a", "queue"),
        ] {
            let answer = stage.console.send("GET", path, &stage.operator, None).await;
            assert_eq!(
                answer.refused(),
                (400, "invalid_params", Some(expected)),
                "{path}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn scopes_narrow_to_functions() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let wanted = json!({
            "role": stage.people.operator,
            "scopes": {"surfaces": ["admin"], "functions": ["rolegate.list_jobs", "rolegate.queues"]},
        });
        let minted = stage.console.minted(&stage.operator, &wanted).await;
        let token = minted["token"].as_str().expect("a token");
        for (method, path, status) in [
            ("GET", "jobs", 200),
            ("GET", "queues", 200),
            ("GET", "jobs/1", 403),
            ("POST", "jobs/1/cancel", 403),
            ("POST", "queues/default/pause", 403),
            ("GET", "cron", 403),
            ("GET", "workers", 403),
        ] {
            let answer = stage.console.send(method, path, token, None).await;
            assert_eq!(answer.status, status, "{method} {path} {}", answer.body);
            assert!(status == 200 || answer.code == "scope_denied");
        }
    })
    .await;
}
