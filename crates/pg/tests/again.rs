//! A request that meets a session which the server has ended: it runs on another one, once.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so do its parts"
)]

#[path = "session/stage.rs"]
#[expect(dead_code, reason = "the stage has more than is needed here")]
mod stage;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rolegate_pg::Statement;
use rolegate_pg::pools::Pools;
use rolegate_pg::quote;
use rolegate_pg::session::{Reply, Request, SessionError};
use rolegate_pg::spool::spool;
use rolegate_testkit::provision::{Provision, default_cache_directory};
use rolegate_testkit::{FaultProxy, TestDatabase, Version};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use stage::{Mode, Stage, in_each_mode, record, request};

const CONNECTIONS: usize = 3;

/// Pools that reach the server through a proxy, with connections that stand idle.
async fn warm(stage: &Stage<'_>) -> (FaultProxy, Pools) {
    let proxy = FaultProxy::unix(stage.db.endpoint().address()).unwrap();
    let pools = stage.pools(|config| {
        config.endpoint.address = proxy.address();
        config.max_connections_per_login = CONNECTIONS;
    });
    fill(stage, &pools).await;
    (proxy, pools)
}

async fn fill(stage: &Stage<'_>, pools: &Pools) {
    stage.close_gate().await;
    let calls: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            start(
                stage,
                pools,
                request(
                    &stage.alice,
                    [Statement::prepared("select api.wait_at_gate()")],
                ),
            )
        })
        .collect();
    stage.until_at_gate(CONNECTIONS).await;
    stage.open_gate().await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    // The answer comes before the session is clean.
    while pools.status().idle < CONNECTIONS {
        tokio::task::yield_now().await;
    }
}

fn start(
    stage: &Stage<'_>,
    pools: &Pools,
    request: Request,
) -> JoinHandle<Result<Reply, SessionError>> {
    let (pools, login) = (pools.clone(), stage.login(&stage.alice));
    tokio::spawn(async move { pools.run(&login, request).await })
}

/// Ends every session behind the proxy; the news does not get through, and then it does, when
/// `request` is on its way.
async fn meet_the_end(
    stage: &Stage<'_>,
    proxy: &FaultProxy,
    pools: &Pools,
    request: Request,
) -> Result<Reply, SessionError> {
    proxy.stop_reading(true);
    let user = quote::literal(&stage.login(&stage.alice).user);
    let kill = format!(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity \
         where datname = current_database() and usename = {user}"
    );
    assert_eq!(stage.look(&kill).await, CONNECTIONS.to_string());
    let call = start(stage, pools, request);
    while pools.status().idle == CONNECTIONS {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished());
    proxy.stop_reading(false);
    call.await.unwrap()
}

#[tokio::test]
async fn a_request_that_meets_a_session_that_was_ended_runs_once_on_another() {
    in_each_mode(async |stage| {
        let (proxy, pools) = warm(stage).await;
        for size in [1, 5_000_000] {
            let id = format!("once {size}");
            // More than the buffers on the way hold, and less.
            let text =
                Statement::prepared("select length($1)").param(stage::TEXT, Some("x".repeat(size)));
            let calls = request(&stage.alice, [record("record", &id), text]);
            let answer = meet_the_end(stage, &proxy, &pools, calls).await;
            assert_eq!(stage::scalar(&answer.unwrap()), size.to_string());
            assert_eq!(stage.runs(&id).await, "1");
            fill(stage, &pools).await;
        }
        pools.close().await;
    })
    .await;
}

#[tokio::test]
async fn with_a_last_statement_and_with_a_stream_too() {
    in_each_mode(async |stage| {
        let (proxy, pools) = warm(stage).await;
        let made = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&made);
        let mut calls = request(&stage.alice, [record("record", "first")]);
        calls.finish = Some(Box::new(move |rows| {
            count.fetch_add(1, Ordering::SeqCst);
            let first = rows[0].scalar().unwrap();
            record(
                "record",
                &format!("after {}", String::from_utf8_lossy(first)),
            )
        }));
        meet_the_end(stage, &proxy, &pools, calls).await.unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(stage.runs("first").await, "1");
        assert_eq!(stage.runs("after first").await, "1");
        fill(stage, &pools).await;

        let (writer, mut reader) = spool();
        let mut calls = request(
            &stage.alice,
            [Statement::prepared(
                "select n::text from generate_series(1, 3) n",
            )],
        );
        calls.stream = Some(writer);
        meet_the_end(stage, &proxy, &pools, calls).await.unwrap();
        let mut text = Vec::new();
        while let Some(bytes) = reader.next().await.unwrap() {
            text.extend_from_slice(&bytes);
        }
        assert_eq!(text, b"1\n2\n3\n");
        pools.close().await;
    })
    .await;
}

/// The second attempt is the last one: what cannot be had then is said.
#[tokio::test]
async fn where_there_is_no_other_session_the_caller_is_told() {
    in_each_mode(async |stage| {
        let (proxy, pools) = warm(stage).await;
        proxy.refuse_new(true).await.unwrap();
        let calls = request(&stage.alice, [record("record", "nowhere")]);
        let began = Instant::now();
        let answer = meet_the_end(stage, &proxy, &pools, calls).await;
        assert!(
            matches!(answer, Err(SessionError::Unavailable(_))),
            "{answer:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(stage.runs("nowhere").await, "0");
        pools.close().await;
    })
    .await;
}

/// A cut connection says nothing, and then nobody may run it again.
#[tokio::test]
async fn what_may_have_run_is_not_sent_again() {
    in_each_mode(async |stage| {
        let (proxy, pools) = warm(stage).await;
        for round in 0..20 {
            let id = format!("cut {round}");
            proxy.stop_reading(true);
            let call = start(
                stage,
                &pools,
                request(&stage.alice, [record("record", &id)]),
            );
            while pools.status().idle == CONNECTIONS {
                tokio::task::yield_now().await;
            }
            proxy.stop_reading(false);
            proxy.cut_all().await;
            let answer = call.await.unwrap();
            let runs = stage.runs(&id).await;
            match answer {
                Ok(_) => assert_eq!(runs, "1"),
                Err(SessionError::Lost {
                    nothing_ran: false, ..
                }) => assert!(runs == "0" || runs == "1", "{runs}"),
                Err(error) => panic!("{error:?}"),
            }
            fill(stage, &pools).await;
        }
        pools.close().await;
    })
    .await;
}

/// A whole server that stops and starts under load.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_twice_when_the_server_restarts() {
    for version in Version::ALL {
        let place = tempfile::Builder::new()
            .prefix("rg-again-")
            .tempdir()
            .unwrap();
        // As root, the server runs as another user, who has to get in there.
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let provision = Provision {
            directory: place.path().to_owned(),
            cache_directory: default_cache_directory(),
            python: "python3".into(),
            search_path: search_path(),
            instead_of_15: None,
        };
        let mut own = provision.start(version).await.unwrap();
        let db = TestDatabase::create_in(version, own.record.clone()).await;
        let stage = Stage::new(&db, Mode::Login).await;
        let pools = stage.pools(|config| config.max_connections_per_login = 4);

        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (pools, login) = (pools.clone(), stage.login(&stage.alice));
                let (stop, who) = (Arc::clone(&stop), stage.alice.clone());
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let id = format!("{client}/{}", answers.len());
                        let answer = pools.run(&login, request(&who, [record("record", &id)]));
                        answers.push((id, answer.await));
                    }
                    answers
                })
            })
            .collect();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            own.cluster.restart().await.unwrap();
            assert_eq!(own.cluster.port(), own.record.port);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::SeqCst);
        let admin = db.superuser().await;
        let (mut ran, mut told) = (0, 0);
        for client in clients {
            for (id, answer) in client.await.unwrap() {
                let count = "select count(*) from api.run where id = $1";
                let runs: i64 = admin.query_one(count, &[&id]).await.unwrap().get(0);
                match answer {
                    Ok(_) => {
                        ran += 1;
                        assert_eq!(runs, 1, "{id}");
                    }
                    Err(SessionError::Lost {
                        nothing_ran: false, ..
                    }) => assert!(runs <= 1, "{id}: {runs}"),
                    Err(error) => {
                        told += 1;
                        assert_eq!(runs, 0, "{id}: {error:?}");
                    }
                }
            }
        }
        assert!(ran > 0 && told > 0, "{version}: {ran} ran, {told} refused");
        pools.close().await;
        drop(admin);
        own.cluster.stop().await.unwrap();
        place.close().unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "servers of the machine are looked for as in with-clusters"
)]
fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}
