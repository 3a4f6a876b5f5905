//! Cron entries over HTTP.

use rolegate_server::config::Mode;
use rolegate_testkit::for_each_version;
use serde_json::json;

use crate::jobs::Stage;

#[tokio::test]
async fn cron_entries_are_triggered_paused_and_removed() {
    for_each_version(async |db| {
        let stage = Stage::set(db, Mode::Login).await;
        let Stage {
            console, operator, ..
        } = &stage;
        let superuser = db.superuser().await;
        superuser
            .batch_execute(
                "select rolegate.set_cron('a/b', '0 3 * * *', 'print', '{\"n\": 1}', \
                     time_zone => 'Europe/Berlin', only_one => true)",
            )
            .await
            .expect("set");
        let entries = stage.get(&stage.viewer, "cron").await;
        for (member, value) in [
            ("name", json!("a/b")),
            ("cron_expr", json!("0 3 * * *")),
            ("timezone", json!("Europe/Berlin")),
            ("args", json!({"n": 1})),
            ("missed_fire_policy", json!("coalesce")),
            ("only_one", json!(true)),
            ("paused_at", json!(null)),
        ] {
            assert_eq!(entries[0][member], value, "{member}");
        }
        let job = console
            .send("POST", "cron/a%2Fb/trigger", operator, None)
            .await
            .expect(200);
        assert_eq!(
            (&job["kind"], &job["args"]),
            (&json!("print"), &json!({"n": 1}))
        );
        assert_eq!(job["metadata"]["cron"], "a/b");
        let again = console
            .send("POST", "cron/a%2Fb/trigger", operator, None)
            .await;
        assert_eq!(again.refused(), (409, "job_conflict", None));

        for (what, changed) in [
            ("pause", true),
            ("pause", false),
            ("resume", true),
            ("resume", false),
        ] {
            let path = format!("cron/a%2Fb/{what}");
            let said = console
                .send("POST", &path, operator, Some(json!({})))
                .await
                .expect(200);
            assert_eq!(said, json!({"ok": true, "changed": changed}), "{what}");
            let paused = stage.get(&stage.viewer, "cron").await[0]["paused_by"].clone();
            let by = if what == "pause" {
                json!(stage.people.operator)
            } else {
                json!(null)
            };
            assert_eq!(paused, by);
        }
        let removed = console.send("DELETE", "cron/a%2Fb", operator, None).await;
        assert_eq!(removed.status, 204);
        assert_eq!(stage.get(&stage.viewer, "cron").await, json!([]));
        for (method, path) in [
            ("DELETE", "cron/a%2Fb"),
            ("POST", "cron/a%2Fb/trigger"),
            ("POST", "cron/a%2Fb/pause"),
            ("POST", "cron/a%2Fb/resume"),
        ] {
            let answer = console.send(method, path, operator, None).await;
            assert_eq!(
                answer.refused(),
                (404, "not_found", None),
                "{method} {path}"
            );
        }
    })
    .await;
}
