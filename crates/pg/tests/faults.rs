//! Broken connections: every request gets exactly one answer, nothing runs twice, and an answer
//! that says "nothing ran" is right.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so do its parts"
)]

#[path = "session/stage.rs"]
#[expect(dead_code, reason = "the stage has more than the faults need")]
mod stage;

use std::time::Duration;

use rolegate_pg::Statement;
use rolegate_pg::pools::{Pools, PoolsConfig};
use rolegate_pg::quote;
use rolegate_pg::session::{Reply, SessionError};
use rolegate_testkit::FaultProxy;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use stage::{Mode, Principal, Stage, in_each_mode, on_each_version, record, request};

type Answer = Result<Reply, SessionError>;

/// A request in a task of its own.
fn start(pools: &Pools, stage: &Stage<'_>, who: &Principal, call: Statement) -> JoinHandle<Answer> {
    let (pools, login) = (pools.clone(), stage.login(who));
    let request = request(who, [call]);
    tokio::spawn(async move { pools.run(&login, request).await })
}

/// Pools that reach the server through a proxy.
fn through(stage: &Stage<'_>, change: impl FnOnce(&mut PoolsConfig)) -> (FaultProxy, Pools) {
    let proxy = FaultProxy::unix(stage.db.endpoint().address()).unwrap();
    let pools = stage.pools(|config| {
        config.endpoint.address = proxy.address();
        change(config);
    });
    (proxy, pools)
}

/// The answer agrees with what was committed.
async fn assert_honest(stage: &Stage<'_>, id: &str, answer: &Answer) {
    let runs = stage.runs(id).await;
    match answer {
        Ok(_) => assert_eq!(runs, "1", "{id}"),
        Err(SessionError::Lost {
            nothing_ran: false, ..
        }) => {
            assert!(runs == "0" || runs == "1", "{id}: {runs}");
        }
        // Everything else says that nothing was committed.
        Err(_) => assert_eq!(runs, "0", "{id}: {answer:?}"),
    }
}

fn backends(stage: &Stage<'_>, who: &Principal) -> String {
    format!(
        "from pg_stat_activity where datname = current_database() and usename = {}",
        quote::literal(&stage.login(who).user)
    )
}

async fn assert_recovers(pools: &Pools, stage: &Stage<'_>) {
    for who in [&stage.alice, &stage.bob] {
        loop {
            let call = Statement::prepared("select 'fine'");
            match start(pools, stage, who, call).await.unwrap() {
                Ok(_) => break,
                // The last connection was on its way out; the next one is new.
                Err(SessionError::Lost {
                    nothing_ran: true, ..
                }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_connection_killed_while_it_is_idle_is_not_used() {
    in_each_mode(async |stage| {
        for round in 0..5 {
            let id = format!("after {round}");
            stage.ask(&stage.alice, "select 'warm'").await.unwrap();
            let from = backends(stage, &stage.alice);
            let kill = format!("select count(pg_terminate_backend(pid, 5000)) {from}");
            assert_eq!(stage.look(&kill).await, "1");
            let call = record("record", &id);
            let answer = stage.run(&stage.alice, request(&stage.alice, [call])).await;
            // Either the news had arrived, or the server said so before anything ran.
            assert!(answer.is_ok(), "{answer:?}");
            assert_honest(stage, &id, &answer).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_killed_while_a_call_runs_says_that_nothing_was_committed() {
    in_each_mode(async |stage| {
        stage.close_gate().await;
        let pools = stage.pools(|_| {});
        let call = start(
            &pools,
            stage,
            &stage.alice,
            record("record_at_gate", "killed"),
        );
        stage.until_at_gate(1).await;
        stage
            .look(&format!(
                "select count(pg_terminate_backend(pid)) {}",
                backends(stage, &stage.alice)
            ))
            .await;
        let answer = call.await.unwrap();
        assert!(
            matches!(&answer, Err(SessionError::Ended { error }) if error.code == "57P01"),
            "{answer:?}"
        );
        stage.open_gate().await;
        assert_eq!(stage.runs("killed").await, "0");
        assert_recovers(&pools, stage).await;
        pools.close().await;
    })
    .await;
}

/// Kills at moments that nobody chose: before the request is read, while it runs, at its commit,
/// while the session is cleaned.
#[tokio::test]
async fn a_kill_at_any_moment_is_answered_honestly() {
    on_each_version(Mode::Login, async |stage| {
        let killer = stage.db.superuser().await;
        let pids = format!(
            "select pid {} order by backend_start desc limit 1",
            backends(stage, &stage.alice)
        );
        for round in 0..120_u64 {
            let id = format!("kill {round}");
            stage
                .ask(&stage.alice, "select 'warm'")
                .await
                .unwrap_or_default();
            let pid: i32 = match killer.query_opt(&pids, &[]).await.unwrap() {
                Some(row) => row.get(0),
                None => continue,
            };
            let call = start(&stage.pools, stage, &stage.alice, record("record", &id));
            tokio::time::sleep(Duration::from_micros(round * 29 % 1500)).await;
            killer
                .query_one("select pg_terminate_backend($1)", &[&pid])
                .await
                .unwrap();
            assert_honest(stage, &id, &call.await.unwrap()).await;
        }
        assert_recovers(&stage.pools, stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_cut_at_any_moment_is_answered_honestly_and_runs_nothing_twice() {
    on_each_version(Mode::Login, async |stage| {
        let (proxy, pools) = through(stage, |_| {});
        let mut lost = 0;
        for round in 0..40_u64 {
            let id = format!("cut {round}");
            let call = start(&pools, stage, &stage.alice, record("record", &id));
            // With the connection being made, the batch on its way, the answer on its way.
            tokio::time::sleep(Duration::from_micros(round * 121 % 4000)).await;
            proxy.cut_all().await;
            let answer = call.await.unwrap();
            lost += u32::from(answer.is_err());
            // The server may still be at it.
            proxy.cut_all().await;
            stage
                .until(&format!(
                    "select count(*) = 0 {}",
                    backends(stage, &stage.alice)
                ))
                .await;
            assert_honest(stage, &id, &answer).await;
        }
        assert!(lost > 0, "no cut hit anything");
        assert_recovers(&pools, stage).await;
        pools.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_cut_while_a_call_runs_is_answered_at_once() {
    on_each_version(Mode::Login, async |stage| {
        let (proxy, pools) = through(stage, |_| {});
        stage.close_gate().await;
        let call = start(&pools, stage, &stage.alice, record("record_at_gate", "cut"));
        stage.until_at_gate(1).await;
        let began = Instant::now();
        proxy.cut_all().await;
        let answer = call.await.unwrap();
        assert!(
            matches!(
                answer,
                Err(SessionError::Lost {
                    nothing_ran: false,
                    ..
                })
            ),
            "{answer:?}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        // The server notices by itself that nobody waits, and takes back what it did.
        stage.until_at_gate(0).await;
        stage.open_gate().await;
        assert_eq!(stage.runs("cut").await, "0");
        assert_recovers(&pools, stage).await;
        pools.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_one_that_comes_back_is_used() {
    in_each_mode(async |stage| {
        let (proxy, pools) = through(stage, |config| config.max_connections_per_login = 3);
        assert_recovers(&pools, stage).await;
        for _ in 0..2 {
            proxy.refuse_new(true).await.unwrap();
            proxy.cut_all().await;
            for i in 0..6 {
                let answer = start(&pools, stage, &stage.alice, record("record", "nowhere"))
                    .await
                    .unwrap();
                assert!(
                    matches!(
                        answer,
                        Err(SessionError::Unavailable(_) | SessionError::Lost { .. })
                    ),
                    "{i}: {answer:?}"
                );
            }
            proxy.refuse_new(false).await.unwrap();
            assert_recovers(&pools, stage).await;
        }
        assert_eq!(stage.runs("nowhere").await, "0");
        pools.close().await;
    })
    .await;
}

/// Many at once when the server goes away: nobody waits until his patience is over.
#[tokio::test]
async fn everybody_who_waits_for_a_server_that_is_not_there_is_told() {
    on_each_version(Mode::Login, async |stage| {
        let (proxy, pools) = through(stage, |config| config.max_connections_per_login = 4);
        proxy.refuse_new(true).await.unwrap();
        let began = Instant::now();
        let calls: Vec<_> = (0..20)
            .map(|_| start(&pools, stage, &stage.alice, record("record", "nowhere")))
            .collect();
        for call in calls {
            let answer = call.await.unwrap();
            assert!(
                matches!(answer, Err(SessionError::Unavailable(_))),
                "{answer:?}"
            );
        }
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        proxy.refuse_new(false).await.unwrap();
        assert_recovers(&pools, stage).await;
        pools.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_network_that_stands_still_is_given_up_after_the_deadline() {
    on_each_version(Mode::Login, async |stage| {
        let (proxy, pools) = through(stage, |_| {});
        assert_recovers(&pools, stage).await;
        proxy.stop_reading(true);
        // More than the buffers on the way hold, and less.
        for size in [5_000_000, 10] {
            let text = "x".repeat(size);
            let call = Statement::prepared("select length($1)").param(stage::TEXT, Some(text));
            let mut late = request(&stage.alice, [call]);
            late.limits.deadline = Instant::now() + Duration::from_millis(100);
            let outcome = pools.run(&stage.login(&stage.alice), late).await;
            assert!(
                matches!(
                    outcome,
                    Err(SessionError::Lost {
                        nothing_ran: false,
                        ..
                    } | SessionError::Overloaded)
                ),
                "{outcome:?}"
            );
        }
        proxy.stop_reading(false);
        proxy.cut_all().await;
        assert_recovers(&pools, stage).await;
        pools.close().await;
    })
    .await;
}

/// A cancel that may still be on its way must not meet the next request.
#[tokio::test]
async fn a_connection_whose_cancel_failed_is_not_used_again() {
    on_each_version(Mode::Login, async |stage| {
        let (proxy, pools) = through(stage, |_| {});
        let login = stage.login(&stage.alice);
        let pid = || {
            request(
                &stage.alice,
                [Statement::prepared("select pg_backend_pid()")],
            )
        };
        let before = stage::scalar(&pools.run(&login, pid()).await.unwrap());
        // Nobody listens for new connections, such as those for cancels.
        proxy.refuse_new(true).await.unwrap();
        let mut late = request(&stage.alice, [Statement::prepared("select pg_sleep(0.3)")]);
        late.limits.deadline = Instant::now() + Duration::from_millis(50);
        // It ran to its end, since nothing could stop it.
        assert!(pools.run(&login, late).await.is_ok());
        proxy.refuse_new(false).await.unwrap();
        assert_ne!(
            stage::scalar(&pools.run(&login, pid()).await.unwrap()),
            before
        );
        pools.close().await;
    })
    .await;
}
