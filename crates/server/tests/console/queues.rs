//! Queues, workers and the overview over HTTP.

use rolegate_server::config::Mode;
use rolegate_testkit::for_each_version;
use serde_json::json;

use crate::jobs::Stage;

#[tokio::test]
async fn a_queue_is_made_changed_paused_and_drained() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let Stage {
            console, operator, ..
        } = &stage;
        let made = console.send("PUT", "queues/mail", operator, None).await.expect(201);
        assert_eq!((&made["queue"], &made["aging_seconds"]), (&json!("mail"), &json!(60)));
        console.send("PUT", "queues/mail", operator, Some(json!({}))).await.expect(200);

        let limits = json!({"concurrency": 3, "key_rate": 0.5, "burst": null});
        let change = json!({"dead_letters_kept": true, "backoff_seconds": 0.5, "aging_seconds": 0,
            "limits": limits});
        let changed = console.send("PATCH", "queues/mail", operator, Some(change)).await.expect(200);
        for (member, value) in [
            ("dead_letters_kept", json!(true)),
            ("backoff_seconds", json!(0.5)),
            ("aging_seconds", json!(0)),
            ("limits", json!({"concurrency": 3, "key_rate": 0.5})),
            // Left out, left alone.
            ("max_backoff_seconds", json!(86400)),
        ] {
            assert_eq!(changed[member], value, "{member}");
        }

        // Clients of Awa say who; what counts is the role.
        let say = || Some(json!({"paused_by": "root"}));
        for changes in [true, false] {
            let paused = console.send("POST", "queues/mail/pause", operator, say()).await.expect(200);
            assert_eq!(paused, json!({"ok": true, "changed": changes}));
        }
        let queue = stage.get(&stage.viewer, "queues/mail").await;
        assert_eq!(queue["paused"], true);
        assert_eq!(queue["paused_by"], stage.people.operator.as_str());

        for n in 0..5 {
            let job = json!({"kind": "a", "queue": "mail", "run_at": (n == 4).then_some("2999-01-01T00:00:00Z")});
            stage.enqueued(&stage.producer, job).await;
        }
        let queue = stage.get(&stage.viewer, "queues/mail").await;
        assert_eq!(
            (&queue["available"], &queue["scheduled"], &queue["total_queued"]),
            (&json!(4), &json!(1), &json!(5))
        );
        assert!(queue["lag_seconds"].as_f64().expect("a number") >= 0.0);
        let stats = stage.get(&stage.viewer, "stats").await;
        assert_eq!((&stats["available"], &stats["queues_paused"]), (&json!(4), &json!(1)));
        assert_eq!((&stats["workers"], &stats["maintenance"]["leads"]), (&json!(0), &json!(false)));

        let drained = console.send("POST", "queues/mail/drain", operator, None).await.expect(200);
        assert_eq!(drained, json!({"drained": 5, "complete": true}));
        let queue = stage.get(&stage.viewer, "queues/mail").await;
        assert_eq!((&queue["total_queued"], &queue["lag_seconds"]), (&json!(0), &json!(null)));
        let resumed = console.send("POST", "queues/mail/resume", operator, None).await.expect(200);
        assert_eq!(resumed, json!({"ok": true, "changed": true}));
        assert_eq!(stage.get(&stage.viewer, "queues").await.as_array().map(Vec::len), Some(2));

        for (method, path) in [
            ("GET", "queues/nowhere"),
            ("PATCH", "queues/nowhere"),
            ("POST", "queues/nowhere/pause"),
            ("POST", "queues/nowhere/resume"),
            ("POST", "queues/nowhere/drain"),
            ("GET", "queues/%00"),
        ] {
            let answer = console.send(method, path, operator, None).await;
            assert_eq!(answer.refused(), (404, "not_found", None), "{method} {path}");
        }
        let long = format!("queues/{}", "x".repeat(201));
        let answer = console.send("PUT", &long, operator, None).await;
        assert_eq!(answer.refused(), (400, "invalid_params", Some("queue")));
        let wrong = Some(json!({"limits": {"rates": 1}}));
        let answer = console.send("PATCH", "queues/mail", operator, wrong).await;
        assert_eq!(
            answer.refused(),
            (400, "invalid_params", Some("rates"))
        );
        let wrong = Some(json!({"aging_seconds": -1}));
        let answer = console.send("PATCH", "queues/mail", operator, wrong).await;
        assert_eq!(answer.refused(), (400, "invalid_params", Some("aging_seconds")));
    })
    .await;
}

#[tokio::test]
async fn workers_are_listed() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        assert_eq!(stage.get(&stage.viewer, "workers").await, json!([]));
        let worker = db.connect_as("rolegate_worker").await;
        let register = "select rolegate.register_worker('one', '1.2', '{default}')";
        worker.execute(register, &[]).await.expect("registered");
        stage.enqueued(&stage.producer, json!({"kind": "a"})).await;
        let claim = "select count(*) from rolegate.claim_jobs(1, array[1], 10)";
        worker.execute(claim, &[]).await.expect("claimed");
        let workers = stage.get(&stage.operator, "workers").await;
        for (member, value) in [
            ("name", json!("one")),
            ("version", json!("1.2")),
            ("queues", json!(["default"])),
            ("running", json!(1)),
        ] {
            assert_eq!(workers[0][member], value, "{member}");
        }
        assert!(workers[0]["oldest_attempted_at"].is_string(), "{workers}");
        assert_eq!(stage.get(&stage.viewer, "stats").await["running"], 1);
    })
    .await;
}
