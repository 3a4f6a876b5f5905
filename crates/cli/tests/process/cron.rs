//! Cron entries of the configuration file: applied by the process that does the maintenance.

use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use rolegate_pg::cluster::Source;
use tokio::process::Child;
use tokio_postgres::Client;

use crate::place::{PATIENCE, Place, program, signal};

const BEAT: &str = "[databases.app.cron.beat]\nexpression = \"* * * * * *\"\nkind = \"api.note\"\n\
    args = { id = \"from the file\" }\nrun_as = \"alice\"\n";
const YEARLY: &str = "[databases.app.cron.yearly]\nexpression = \"0 0 29 2 *\"\nkind = \"api.note\"\n\
    run_as = \"alice\"\n";
const BAD: &str = "[databases.app.cron.bad]\nexpression = \"every day\"\nkind = \"api.note\"\n\
    run_as = \"alice\"\n";

async fn stop(mut process: Child) {
    signal(&process, Signal::SIGTERM);
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
    assert!(ended.expect("it ends").expect("a status").success());
}

/// Waits until these are the entries.
async fn become_entries(superuser: &Client, expected: &str) {
    let sql = "select coalesce(string_agg(name, ' ' order by name), '') from rolegate.list_crons()";
    let is = async {
        while superuser
            .query_one(sql, &[])
            .await
            .expect(sql)
            .get::<_, &str>(0)
            != expected
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), is).await;
    waited.unwrap_or_else(|_| panic!("they are not {expected:?}"));
}

async fn ends(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    program(&arguments).output().await.expect("it runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_the_file_are_those_of_the_database() {
    let place = Place::start(Source::System { major: Some(15) }).await;
    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let superuser = superuser.expect("the superuser logs in");
    let by_hand = "select rolegate.set_cron('by hand', '@yearly', 'api.note')";
    superuser.batch_execute(by_hand).await.expect(by_hand);
    // Nobody has allowed it: it is refused, and the process runs.
    let process = place.serve_with(&["maintenance"], BEAT).await.0;
    let leads = "select leads from rolegate.maintenance_leader()";
    let led = async {
        while !superuser
            .query_one(leads, &[])
            .await
            .expect(leads)
            .get::<_, bool>(0)
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, led).await.expect("it leads");
    stop(process).await;
    become_entries(&superuser, "by hand").await;

    let allow = "select rolegate.allow_declared_cron('alice')";
    superuser.batch_execute(allow).await.expect(allow);
    let both = [BEAT, YEARLY].concat();
    let process = place.serve_with(&["worker", "maintenance"], &both).await.0;
    become_entries(&superuser, "beat by hand yearly").await;
    let ran = async {
        while !place.runs().await.contains_key("from the file") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ran).await.expect("it runs");
    stop(process).await;
    let process = place.serve_with(&["maintenance"], YEARLY).await.0;
    become_entries(&superuser, "by hand yearly").await;
    stop(process).await;

    // What can't be read is found before anything runs.
    let file = place.path("bad.toml");
    std::fs::write(&file, place.database() + BAD).expect("our directory");
    for command in [vec!["config", "check"], vec!["serve", "maintenance"]] {
        let output = ends(&[&command[..], &["--config", &file]].concat()).await;
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        for part in ["databases.app.cron.bad: expression: ", "MINUTE HOUR DAY"] {
            assert!(said.contains(part), "{command:?}: {said}");
        }
    }
    become_entries(&superuser, "by hand yearly").await;
    drop(superuser);
    place.stop().await;
}
