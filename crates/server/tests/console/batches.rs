//! Batches over HTTP.

use rolegate_server::config::Mode;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use crate::jobs::Stage;

/// As the maintenance's login does.
async fn run(db: &TestDatabase) {
    let maintenance = db.connect_as("rolegate_maintenance").await;
    for _ in 0..100 {
        let sql = "select rolegate.run_batch(2)";
        let row = maintenance.query_one(sql, &[]).await.expect("it runs");
        if row.get::<_, Option<i32>>(0).is_none() {
            return;
        }
    }
    panic!("the batch does not end");
}

async fn post(stage: &Stage, path: &str, body: Value) -> crate::setup::Answer {
    let Stage {
        console, operator, ..
    } = stage;
    console.send("POST", path, operator, Some(body)).await
}

#[tokio::test]
async fn a_batch_is_previewed_submitted_followed_and_stopped() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let mut ids = Vec::new();
        for n in 0..6 {
            let kind = if n < 4 { "print" } else { "scan" };
            let job = json!({"kind": kind, "tags": [format!("page {n}")]});
            ids.push(stage.enqueued(&stage.producer, job).await);
        }
        assert_eq!(stage.get(&stage.viewer, "jobs/batches").await, json!([]));
        let tagged = json!({"action": "cancel", "tag": "page 2"});
        let found = post(&stage, "jobs/batches/preview", tagged.clone()).await;
        let expected = json!({"jobs": 1, "at_least": false, "newest": [ids[2]]});
        assert_eq!(found.expect(200), expected);
        let id = post(&stage, "jobs/batches", tagged).await.expect(201)["id"].clone();
        let shown = stage.get(&stage.viewer, &format!("jobs/batches/{id}")).await;
        assert_eq!(shown["filter"]["tag"], "page 2");
        let stopped = post(&stage, &format!("jobs/batches/{id}/stop"), json!({})).await;
        stopped.expect(200);
        let which = json!({"action": "cancel", "kind": "print"});
        let found = post(&stage, "jobs/batches/preview", which.clone()).await;
        let mut newest = ids[..4].to_vec();
        newest.reverse();
        let expected = json!({"jobs": 4, "at_least": false, "newest": newest});
        assert_eq!(found.expect(200), expected);

        let mut batch = which;
        batch["reason"] = "sent twice".into();
        let made = post(&stage, "jobs/batches", batch).await;
        let place = made.headers["location"].to_str().expect("text").to_owned();
        let id = made.expect(201)["id"].as_i64().expect("an id");
        assert_eq!(place, format!("/v1/app/jobs/batches/{id}"));
        let path = format!("jobs/batches/{id}");
        let shown = stage.get(&stage.viewer, &path).await;
        for (member, value) in [
            ("id", json!(id)),
            ("action", json!("cancel")),
            ("state", json!("running")),
            ("reason", json!("sent twice")),
            ("submitted_by", json!(stage.people.operator)),
            ("ended_at", Value::Null),
            (
                "filter",
                json!({"state": null, "queue": null, "kind": "print", "tag": null, "dead_letters": false}),
            ),
        ] {
            assert_eq!(shown[member], value, "{member}");
        }
        // One that comes later is not among them.
        let later = stage
            .enqueued(&stage.producer, json!({"kind": "print"}))
            .await;
        run(db).await;
        let done = stage.get(&stage.viewer, &path).await;
        let counts = ["state", "looked_at", "changed", "refused"].map(|member| &done[member]);
        assert_eq!(json!(counts), json!(["done", 4, 4, 0]));
        let left = stage.ids(&stage.viewer, "jobs?state=available").await;
        assert_eq!(left, [later, ids[5], ids[4]]);

        // Retried, and moved on the way.
        let again = json!({"action": "retry", "state": "cancelled", "to_priority": 4});
        post(&stage, "jobs/batches", again).await.expect(201);
        let moved =
            json!({"action": "move", "state": "available", "kind": "scan", "to_priority": 1});
        let last = post(&stage, "jobs/batches", moved).await.expect(201)["id"].as_i64();
        let last = last.expect("an id");
        let stop = format!("jobs/batches/{last}/stop");
        let stopped = post(&stage, &stop, json!({})).await;
        assert_eq!(stopped.expect(200), json!({"ok": true}));
        let stopped = post(&stage, &stop, json!({})).await;
        assert_eq!(stopped.refused(), (409, "job_conflict", None));
        run(db).await;
        let job = stage.get(&stage.viewer, &format!("jobs/{}", ids[0])).await;
        assert_eq!(
            (&job["state"], &job["priority"]),
            (&json!("available"), &json!(4))
        );
        let job = stage.get(&stage.viewer, &format!("jobs/{}", ids[4])).await;
        assert_eq!(job["priority"], 2, "it was stopped before");
        let newest = stage.get(&stage.viewer, "jobs/batches?limit=2").await;
        let states: Vec<_> = newest
            .as_array()
            .expect("a list")
            .iter()
            .map(|b| &b["state"])
            .collect();
        assert_eq!(json!(states), json!(["cancelled", "done"]));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_batch_is_refused_by_name() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Assume).await;
        for (body, path) in [
            (json!({}), "action"),
            (json!({"action": "purge", "kind": "a"}), "action"),
            (json!({"action": "cancel"}), "queue"),
            (json!({"action": "cancel", "state": "failed"}), "state"),
            (
                json!({"action": "cancel", "dead_letters": true}),
                "dead_letters",
            ),
            (
                json!({"action": "cancel", "kind": "a", "to_priority": 1}),
                "to_queue",
            ),
            (json!({"action": "retry", "kind": "a"}), "state"),
            (json!({"action": "retry", "state": "available"}), "state"),
            (
                json!({"action": "move", "kind": "a", "to_priority": 1}),
                "state",
            ),
            (
                json!({"action": "move", "state": "running", "to_priority": 1}),
                "state",
            ),
            (json!({"action": "move", "state": "available"}), "to_queue"),
            (
                json!({"action": "move", "state": "available", "to_priority": 5}),
                "to_priority",
            ),
            (
                json!({"action": "move", "state": "available", "to_queue": "nowhere"}),
                "to_queue",
            ),
            (json!({"action": "cancel", "queue": "nowhere"}), "queue"),
            (json!({"action": "cancel", "kind": ""}), "kind"),
            (json!({"action": "cancel", "state": "gone"}), "state"),
            (
                json!({"action": "cancel", "kind": "a", "tags": "b"}),
                "tags",
            ),
        ] {
            for route in ["jobs/batches/preview", "jobs/batches"] {
                let answer = post(&stage, route, body.clone()).await;
                let expected = (400, "invalid_params", Some(path));
                assert_eq!(answer.refused(), expected, "{route} {body}");
            }
        }
        let reason = json!({"action": "cancel", "kind": "a", "reason": "x".repeat(501)});
        let answer = post(&stage, "jobs/batches", reason).await;
        assert_eq!(answer.refused(), (400, "invalid_params", Some("reason")));
        let answer = post(
            &stage,
            "jobs/batches/preview",
            json!({"action": "cancel", "reason": "x"}),
        );
        assert_eq!(
            answer.await.refused(),
            (400, "invalid_params", Some("reason"))
        );
        for (method, path, expected) in [
            ("GET", "jobs/batches/7", (404, "not_found", None)),
            ("GET", "jobs/batches/x", (400, "invalid_params", Some("id"))),
            ("POST", "jobs/batches/7/stop", (409, "job_conflict", None)),
            (
                "POST",
                "jobs/batches/0/stop",
                (400, "invalid_params", Some("id")),
            ),
            (
                "GET",
                "jobs/batches?limit=1001",
                (400, "invalid_params", Some("limit")),
            ),
            (
                "GET",
                "jobs/batches?state=done",
                (400, "invalid_params", Some("state")),
            ),
        ] {
            let answer = stage
                .console
                .send(method, path, &stage.operator, None)
                .await;
            assert_eq!(answer.refused(), expected, "{method} {path}");
        }
        assert_eq!(stage.get(&stage.viewer, "jobs/batches").await, json!([]));
    })
    .await;
}
