//! Dead letters over HTTP.

use rolegate_server::config::Mode;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use crate::jobs::Stage;

/// Makes dead letters of jobs, as failing at them would.
async fn bury(db: &TestDatabase, ids: &[i64]) {
    let superuser = db.superuser().await;
    for id in ids {
        let cancel = "select rolegate.cancel($1)";
        superuser.execute(cancel, &[id]).await.expect("cancelled");
    }
    let bury = "update rolegate.job_ended set state = 'failed', reason = 'terminal_error', \
         error = '\"no paper\"', dead_letter = true where root = any ($1)";
    superuser.execute(bury, &[&ids]).await.expect("buried");
}

#[tokio::test]
async fn dead_letters_are_looked_at_retried_and_purged() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let Stage {
            console, operator, ..
        } = &stage;
        let mut ids = Vec::new();
        for n in 0..6 {
            let kind = if n < 4 { "print" } else { "scan" };
            let job = json!({"kind": kind, "tags": [format!("page {n}")]});
            ids.push(stage.enqueued(&stage.producer, job).await);
        }
        let others = stage
            .enqueued(&stage.colleague, json!({"kind": "print"}))
            .await;
        bury(db, &ids).await;
        bury(db, &[others]).await;
        let ended = stage
            .enqueued(&stage.producer, json!({"kind": "print"}))
            .await;
        console
            .send("POST", &format!("jobs/{ended}/cancel"), operator, None)
            .await
            .expect(200);

        let mut newest_first = ids.clone();
        newest_first.reverse();
        assert_eq!(stage.ids(&stage.producer, "dlq").await, newest_first);
        assert_eq!(stage.ids(&stage.colleague, "dlq").await, [others]);
        assert_eq!(
            stage.ids(&stage.viewer, "dlq?kind=scan&limit=1").await,
            [ids[5]]
        );
        let tagged = stage.ids(&stage.viewer, "dlq?tag=page+4").await;
        assert_eq!(tagged, [ids[4]]);
        let listed = stage.get(&stage.viewer, "dlq?kind=scan").await;
        for (member, value) in [
            ("dlq_reason", json!("terminal_error")),
            ("error", json!("no paper")),
            ("state", json!("failed")),
            ("enqueued_by", json!(stage.people.producer)),
        ] {
            assert_eq!(listed[0][member], value, "{member}");
        }
        let depth = stage.get(&stage.viewer, "dlq/depth").await;
        let expected = json!({
            "total": 7, "at_least": false, "by_queue": [{"queue": "default", "count": 7}]});
        assert_eq!(depth, expected);

        // A job that was cancelled is none.
        let letter = format!("dlq/{ended}");
        let retry = format!("dlq/{ended}/retry");
        let answer = console.send("GET", &letter, operator, None).await;
        assert_eq!(answer.refused(), (404, "not_found", None));
        let answer = console.send("DELETE", &letter, operator, None).await;
        assert_eq!(answer.refused(), (404, "not_found", None));
        let answer = console.send("POST", &retry, operator, None).await;
        assert_eq!(answer.refused(), (409, "job_conflict", None));
        assert_eq!(
            stage.get(operator, &format!("jobs/{ended}")).await["state"],
            "cancelled"
        );

        let letter = format!("dlq/{}", ids[0]);
        assert_eq!(
            stage.get(&stage.producer, &letter).await["dead_letter"],
            true
        );
        let answer = console.send("GET", &letter, &stage.colleague, None).await;
        assert_eq!(answer.refused(), (404, "not_found", None));
        let retry = format!("{letter}/retry");
        let soon = Some(json!({"run_at": "2999-01-01T00:00:00Z"}));
        let job = console
            .send("POST", &retry, operator, soon)
            .await
            .expect(200);
        assert_eq!(job["state"], "scheduled");
        let letter = format!("dlq/{}", ids[1]);
        let purged = console
            .send("DELETE", &letter, operator, None)
            .await
            .expect(200);
        assert_eq!(purged["count"], 1);
        let answer = console.send("DELETE", &letter, operator, None).await;
        assert_eq!(answer.refused(), (404, "not_found", None));

        many(&stage, &ids).await;
    })
    .await;
}

/// Left are two of `print`, two of `scan`, and the colleague's.
async fn many(stage: &Stage, ids: &[i64]) {
    let Stage {
        console, operator, ..
    } = stage;
    for path in ["dlq/bulk-retry", "dlq/bulk-purge"] {
        for body in [json!({}), json!({"all": false}), json!({"all": null})] {
            let answer = console.send("POST", path, operator, Some(body)).await;
            assert_eq!(
                answer.refused(),
                (400, "invalid_params", Some("all")),
                "{path}"
            );
        }
        let wrong = Some(json!({"tags": "a", "all": true}));
        let answer = console.send("POST", path, operator, wrong).await;
        assert_eq!(
            answer.refused(),
            (400, "invalid_params", Some("tags")),
            "{path}"
        );
        let wrong = Some(json!({"queue": "nowhere"}));
        let answer = console.send("POST", path, operator, wrong).await;
        assert_eq!(
            answer.refused(),
            (400, "invalid_params", Some("queue")),
            "{path}"
        );
        let answer = console
            .send("POST", path, &stage.producer, Some(json!({"all": true})))
            .await;
        assert_eq!(answer.refused(), (403, "permission_denied", None), "{path}");
    }
    let done = async |path: &str, body: Value| {
        console
            .send("POST", path, operator, Some(body))
            .await
            .expect(200)
    };
    let nothing = done("dlq/bulk-purge", json!({"before": "2000-01-01T00:00:00Z"})).await;
    assert_eq!(nothing, json!({"count": 0, "complete": true}));
    for path in ["dlq/bulk-retry", "dlq/bulk-purge"] {
        let none = done(path, json!({"tag": "page 9"})).await;
        assert_eq!(none, json!({"count": 0, "complete": true}));
    }
    let purged = done("dlq/bulk-purge", json!({"tag": "page 5"})).await;
    assert_eq!(purged, json!({"count": 1, "complete": true}));
    let retried = done("dlq/bulk-retry", json!({"tag": "page 3"})).await;
    assert_eq!(retried, json!({"count": 1, "complete": true}));
    let retried = done(
        "dlq/bulk-retry",
        json!({"kind": "print", "queue": "default"}),
    )
    .await;
    assert_eq!(retried, json!({"count": 2, "complete": true}));
    assert_eq!(stage.ids(&stage.viewer, "dlq").await, [ids[4]]);
    let purged = done("dlq/bulk-purge", json!({"all": true})).await;
    assert_eq!(purged, json!({"count": 1, "complete": true}));
    assert_eq!(stage.ids(&stage.viewer, "dlq").await, [0_i64; 0]);
}
