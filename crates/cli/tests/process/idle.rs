//! A process that has nothing to do writes nothing: the server's log of changes stands still, and no
//! transaction number is used.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rolegate_pg::cluster::Source;
use rolegate_replication::publication::{self, Installation};
use tokio_postgres::Client;

use crate::place::Place;

/// The server itself says which transactions run every 15 s, if anything has happened; and whoever says it may sleep for 10 s
/// before.
const SERVERS_OWN: Duration = Duration::from_secs(27);

/// Longer than anything here sleeps.
const IDLE: Duration = Duration::from_secs(32);

/// Where the log ends, and the next transaction's number.
async fn position(superuser: &Client) -> (String, String) {
    let sql =
        "select pg_current_wal_insert_lsn()::text, pg_snapshot_xmax(pg_current_snapshot())::text";
    let row = superuser.query_one(sql, &[]).await.expect("a position");
    (row.get(0), row.get(1))
}

async fn idle(source: Source) {
    let place = Place::start(source).await;
    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let mut superuser = superuser.expect("the superuser logs in");
    let of = Installation {
        schema: "rolegate".to_owned(),
        owner: "rolegate_owner".to_owned(),
    };
    let schemas = ["api".to_owned(), "public".to_owned()];
    publication::sync(&mut superuser, &of, &schemas)
        .await
        .expect("published");
    // Vacuuming is the server's own affair.
    for sql in [
        "alter system set autovacuum = off",
        "select pg_reload_conf()",
    ] {
        superuser.batch_execute(sql).await.expect(sql);
    }
    let surfaces = [
        "gateway",
        "console",
        "worker",
        "callbacks",
        "maintenance",
        "replication",
    ];
    let everything = place.serve_all(&surfaces).await;
    let standby = place.serve_all(&["maintenance", "replication"]).await;
    // Something was there to do, and has been done; something else waits for tomorrow.
    let sql = "select rolegate.enqueue('api.note', '[\"idle\"]'); \
        select rolegate.enqueue('api.note', run_at => now() + interval '1 day'); \
        select rolegate.set_cron('yearly', '0 0 29 2 *', 'api.note')";
    superuser.batch_execute(sql).await.expect(sql);
    tokio::time::sleep(Duration::from_secs(12)).await;
    superuser
        .batch_execute("checkpoint")
        .await
        .expect("checkpoint");
    let mut before = position(&superuser).await;
    let (mut since, patience) = (Instant::now(), Instant::now());
    while since.elapsed() < SERVERS_OWN {
        assert!(
            patience.elapsed() < Duration::from_secs(90),
            "it never comes to rest"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = position(&superuser).await;
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    tokio::time::sleep(IDLE).await;
    assert_eq!(position(&superuser).await, before);
    let sql = "select reads from rolegate.change_stream_state()";
    let reads = superuser.query_one(sql, &[]).await.expect(sql);
    assert!(reads.get::<_, bool>(0), "nobody reads the change stream");
    // One job is seen.
    superuser
        .batch_execute("select rolegate.enqueue('api.note')")
        .await
        .expect("a job");
    assert_ne!(position(&superuser).await, before);
    for mut process in [everything, standby] {
        crate::place::signal(&process, Signal::SIGTERM);
        let ended = tokio::time::timeout(crate::place::PATIENCE, process.wait()).await;
        assert!(ended.expect("it ends").expect("a status").success());
    }
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_idle_writes_nothing_on_15() {
    idle(Source::System { major: Some(15) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_idle_writes_nothing_on_18() {
    idle(Source::Wheel).await;
}
