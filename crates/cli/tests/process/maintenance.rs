//! `rolegate maintenance run`: leads without a configuration, until it is told to stop.

use std::time::Duration;

use nix::sys::signal::Signal;
use rolegate_pg::cluster::Source;

use crate::place::{PATIENCE, Place, program, signal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leads_promotes_and_stops() {
    let place = Place::start(Source::System { major: Some(15) }).await;
    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let superuser = superuser.expect("the superuser logs in");
    let socket = place.cluster.socket_dir().display().to_string();
    let url = format!(
        "postgresql://{}:{}/mine",
        socket.replace('/', "%2F"),
        place.cluster.port()
    );
    let arguments = ["maintenance", "run", "--database", &url].map(str::to_owned);
    let mut process = program(&arguments).spawn().expect("it starts");
    let truth = async |sql: &str| {
        let row = superuser.query_one(sql, &[]).await.expect(sql);
        row.get::<_, bool>(0)
    };
    let eventually = async |sql: &str| {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !truth(sql).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never: {sql}"));
    };
    eventually("select leads from rolegate.maintenance_leader()").await;
    superuser
        .batch_execute("select rolegate.enqueue('k', run_at => now() + interval '1 second')")
        .await
        .expect("a job");
    assert!(!truth("select exists (select from rolegate.job where kind = 'k')").await);
    eventually("select exists (select from rolegate.job where kind = 'k')").await;
    signal(&process, Signal::SIGTERM);
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
    assert!(ended.expect("it ends").expect("a status").success());
    eventually("select not leads from rolegate.maintenance_leader()").await;
    drop(superuser);
    place.stop().await;
}
