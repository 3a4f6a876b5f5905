//! From `rolegate cron set` to the row that the function writes, with everything that runs between.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;

use crate::installation::Installation;
use crate::program::{Finished, finishes};

struct Stage {
    installation: Installation,
    superuser: Client,
}

impl Stage {
    /// A command on the database of the installation.
    async fn command(&self, arguments: &[&str]) -> Finished {
        let target = ["--data-dir", self.installation.data_dir()];
        finishes(&[arguments, &target].concat()).await
    }

    async fn done(&self, arguments: &[&str]) -> String {
        let finished = self.command(arguments).await;
        assert!(finished.success, "{arguments:?}: {}", finished.text);
        finished.text
    }

    async fn number(&self, sql: &str) -> i64 {
        let row = self.superuser.query_one(sql, &[]).await;
        row.expect("a row").get(0)
    }
}

/// As whom declared entries may run.
async fn roles_of_declared_entries(stage: &Stage) {
    for (what, said) in [
        ("allow", "allowed\n"),
        ("allow", "was allowed already\n"),
        ("roles", "alice\t"),
        ("forbid", "forbidden\n"),
        ("forbid", "was not allowed\n"),
    ] {
        let role: &[&str] = if what == "roles" { &[] } else { &["alice"] };
        let text = stage.done(&[&["cron", what], role].concat()).await;
        assert!(text.contains(said), "{what}: {text}");
    }
}

async fn an_entry_runs_a_function_as_a_role(postgres: &str) {
    let installation = Installation::start(postgres, &[]).await;
    let superuser = installation.superuser().await;
    superuser
        .batch_execute(
            "create table public.beats (who text, n int); grant insert on public.beats to alice; \
             create function api.beat(n int) returns void language sql \
             begin atomic insert into public.beats values (current_user, n); end; \
             grant execute on function api.beat(int) to alice",
        )
        .await
        .expect("a function");
    let stage = Stage {
        installation,
        superuser,
    };
    let set = [
        "cron",
        "set",
        "heart",
        "* * * * * *",
        "api.beat",
        "--args",
        r#"{"n": 7}"#,
        "--run-as",
        "alice",
        "--time-zone",
        "Europe/Berlin",
    ];
    let said = stage.done(&set).await;
    assert!(
        said.starts_with("made\n") && said.contains("fires next at"),
        "{said}"
    );
    let mut beats = 0;
    for _ in 0..300 {
        beats = stage
            .number("select count(*) from public.beats where who = 'alice' and n = 7")
            .await;
        if beats >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(beats >= 2, "{beats} beats");

    let list = stage.done(&["cron", "list", "--json"]).await;
    let entry: Value = serde_json::from_str(list.trim()).expect("JSON");
    assert_eq!(entry["runs_as"], "alice");
    assert_eq!(entry["problem"], Value::Null);
    assert!(entry["last_fire"].is_string(), "{entry}");
    assert_eq!(stage.done(&["cron", "pause", "heart"]).await, "paused\n");
    let list = stage.done(&["cron", "list"]).await;
    assert!(
        list.contains("heart\t* * * * * *\tEurope/Berlin\tapi.beat"),
        "{list}"
    );
    assert!(list.contains("paused by"), "{list}");
    let before = stage
        .number("select last_job from rolegate.list_crons()")
        .await;
    let made = stage.done(&["cron", "trigger", "heart"]).await;
    assert!(made.trim().parse::<i64>().expect("an id") > before);
    assert_eq!(stage.done(&["cron", "resume", "heart"]).await, "resumed\n");
    assert_eq!(stage.done(&["cron", "remove", "heart"]).await, "removed\n");
    for refused in [
        vec!["cron", "remove", "heart"],
        vec!["cron", "pause", "heart"],
        vec!["cron", "set", "x", "every day", "api.beat"],
        vec!["cron", "set", "x", "0 0 30 2 *", "api.beat"],
        vec![
            "cron",
            "set",
            "x",
            "@daily",
            "api.beat",
            "--time-zone",
            "Mars",
        ],
        vec!["cron", "set", "x", "@daily", "api.beat", "--args", "{"],
    ] {
        let finished = stage.command(&refused).await;
        assert!(!finished.success, "{refused:?}: {}", finished.text);
    }
    assert_eq!(stage.done(&["cron", "list"]).await.lines().count(), 1);

    roles_of_declared_entries(&stage).await;

    // A pass beside the leader.
    let report = stage.done(&["maintenance", "tick", "--json"]).await;
    let report: Value = serde_json::from_str(report.trim()).expect("JSON");
    assert_eq!(report["cron_jobs"], 0);
    let report = stage.done(&["maintenance", "tick"]).await;
    assert!(report.contains("promoted\t0\n"), "{report}");
    drop(stage.superuser);
    assert!(stage.installation.stop().await);
}

#[tokio::test]
async fn an_entry_runs_a_function_as_a_role_on_15() {
    an_entry_runs_a_function_as_a_role("system:15").await;
}

#[tokio::test]
async fn an_entry_runs_a_function_as_a_role_on_18() {
    an_entry_runs_a_function_as_a_role("wheel").await;
}
