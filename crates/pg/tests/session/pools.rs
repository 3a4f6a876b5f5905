//! Pools: budgets, queues, revocation, shutdown, and connections that nobody may lose.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rolegate_pg::Statement;
use rolegate_pg::pools::Pools;
use rolegate_pg::session::{Request, SessionError};
use rolegate_pg::wire::Login;
use tokio::time::Instant;

use super::stage::{Mode, Principal, Stage, code, in_each_mode, on_each_version, record, request};

fn pid() -> Statement {
    Statement::prepared("select pg_backend_pid()")
}

/// Starts a call that waits at the gate.
fn start(
    pools: &Pools,
    stage: &Stage<'_>,
    who: &Principal,
    id: &str,
) -> tokio::task::JoinHandle<Result<rolegate_pg::session::Reply, SessionError>> {
    let (pools, login) = (pools.clone(), stage.login(who));
    let request = request(who, [record("record_at_gate", id)]);
    tokio::spawn(async move { pools.run(&login, request).await })
}

#[tokio::test]
async fn a_login_without_a_connection_gets_an_idle_one_of_another() {
    on_each_version(Mode::Login, async |stage| {
        let pools = stage.pools(|config| {
            config.max_connections = 2;
            config.max_connections_per_login = 2;
        });
        let run = |who: &Principal| {
            let (login, request) = (stage.login(who), request(who, [pid()]));
            let pools = pools.clone();
            async move { pools.run(&login, request).await }
        };
        for (result, alice) in join_all((0..4).map(|_| run(&stage.alice)))
            .await
            .iter()
            .zip(1..)
        {
            assert!(result.is_ok(), "{alice}: {result:?}");
        }
        for _ in 0..3 {
            assert!(run(&stage.bob).await.is_ok());
            assert!(run(&stage.alice).await.is_ok());
            assert!(pools.status().connections <= 2, "{:?}", pools.status());
        }
        pools.close().await;
    })
    .await;
}

/// Without a turn for everybody, whoever always has something in the queue keeps everything.
#[tokio::test]
async fn a_busy_login_does_not_keep_all_connections_for_itself() {
    on_each_version(Mode::Login, async |stage| {
        for connections in [1, 2] {
            let pools = stage.pools(|config| {
                config.max_connections = connections;
                config.max_connections_per_login = 2;
                config.wait_timeout = Duration::from_secs(3);
            });
            let stop = tokio_util::sync::CancellationToken::new();
            let busy: Vec<_> = (0..8)
                .map(|_| {
                    let (pools, login) = (pools.clone(), stage.login(&stage.alice));
                    let (alice, stop) = (stage.alice.clone(), stop.clone());
                    tokio::spawn(async move {
                        while !stop.is_cancelled() {
                            pools.run(&login, request(&alice, [pid()])).await.unwrap();
                        }
                    })
                })
                .collect();
            pools
                .run(&stage.login(&stage.alice), request(&stage.alice, [pid()]))
                .await
                .unwrap();
            for _ in 0..3 {
                let answer = pools
                    .run(&stage.login(&stage.bob), request(&stage.bob, [pid()]))
                    .await;
                assert!(answer.is_ok(), "{connections}: {answer:?}");
            }
            assert!(busy.iter().all(|task| !task.is_finished()));
            stop.cancel();
            for task in busy {
                task.await.unwrap();
            }
            pools.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_waits_too_long_or_finds_the_queue_full_is_told_and_never_runs() {
    in_each_mode(async |stage| {
        let pools = stage.pools(|config| {
            config.max_waiting = 2;
            config.wait_timeout = Duration::from_secs(1);
        });
        stage.close_gate().await;
        let running = start(&pools, stage, &stage.alice, "runs");
        stage.until_at_gate(1).await;
        let waiting: Vec<_> = (0..2)
            .map(|_| start(&pools, stage, &stage.alice, "too late"))
            .collect();
        while pools.status().waiting < 2 {
            tokio::task::yield_now().await;
        }
        let full = start(&pools, stage, &stage.alice, "too many")
            .await
            .unwrap();
        assert!(matches!(full, Err(SessionError::Overloaded)), "{full:?}");
        assert_eq!(pools.status().waiting, 2, "it was told at once");
        for late in waiting {
            let late = late.await.unwrap();
            assert!(matches!(late, Err(SessionError::Overloaded)), "{late:?}");
        }
        // Those who gave up take no place in the queue: this one waits, and gets its turn.
        let next = start(&pools, stage, &stage.alice, "next");
        while pools.status().waiting == 0 && !next.is_finished() {
            tokio::task::yield_now().await;
        }
        stage.open_gate().await;
        assert_eq!(code(running.await.unwrap().map(|_| ())), "ok ()");
        assert_eq!(code(next.await.unwrap().map(|_| ())), "ok ()");
        pools.close().await;
        let ids = "select string_agg(id, ',' order by id) from api.run";
        assert_eq!(stage.look(ids).await, "next,runs");
    })
    .await;
}

#[tokio::test]
async fn closing_a_login_cancels_what_runs_within_a_second() {
    in_each_mode(async |stage| {
        let pools = stage.pools(|_| {});
        stage.close_gate().await;
        let running = start(&pools, stage, &stage.alice, "revoked");
        stage.until_at_gate(1).await;
        let queued = start(&pools, stage, &stage.alice, "revoked");
        while pools.status().waiting == 0 {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        pools.close_login(&stage.login(&stage.alice).user);
        for task in [running, queued] {
            let outcome = task.await.unwrap();
            assert!(matches!(outcome, Err(SessionError::Revoked)), "{outcome:?}");
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        stage.until_at_gate(0).await;
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        stage.open_gate().await;
        assert_eq!(stage.runs("revoked").await, "0");
        // A new request starts with a new connection.
        let reply = pools
            .run(&stage.login(&stage.alice), request(&stage.alice, [pid()]))
            .await;
        assert!(reply.is_ok(), "{reply:?}");
        pools.close().await;
    })
    .await;
}

/// A cancel that meets the server between two statements has no effect; it has to come again.
#[tokio::test]
async fn a_request_revoked_at_any_moment_ends_within_a_second() {
    on_each_version(Mode::Login, async |stage| {
        let login = stage.login(&stage.alice);
        for micros in (0..4000).step_by(100) {
            let pools = stage.pools(|_| {});
            pools
                .run(&login, request(&stage.alice, [pid()]))
                .await
                .unwrap();
            let sleep = Statement::prepared("select pg_sleep(10)");
            let call = pools.run(&login, request(&stage.alice, [sleep]));
            let began = Instant::now();
            let (outcome, ()) = tokio::join!(call, async {
                tokio::time::sleep(Duration::from_micros(micros)).await;
                pools.close_login(&login.user);
            });
            assert!(
                matches!(outcome, Err(SessionError::Revoked)),
                "{micros}: {outcome:?}"
            );
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{micros}: {:?}",
                began.elapsed()
            );
            pools.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn closing_lets_running_requests_end() {
    in_each_mode(async |stage| {
        let pools = stage.pools(|_| {});
        stage.close_gate().await;
        let running = start(&pools, stage, &stage.alice, "ends");
        stage.until_at_gate(1).await;
        let queued = start(&pools, stage, &stage.alice, "queued");
        while pools.status().waiting == 0 {
            tokio::task::yield_now().await;
        }
        let closing = pools.close();
        tokio::pin!(closing);
        assert!(futures_util::poll!(&mut closing).is_pending());
        let refused = pools
            .run(&stage.login(&stage.bob), request(&stage.bob, [pid()]))
            .await;
        assert!(matches!(refused, Err(SessionError::Closed)), "{refused:?}");
        stage.open_gate().await;
        closing.await;
        assert!(running.await.unwrap().is_ok());
        assert!(queued.await.unwrap().is_ok());
        assert_eq!(stage.look("select count(*) from api.run").await, "2");
        assert_eq!(pools.status().connections, 0);
    })
    .await;
}

#[tokio::test]
async fn a_thousand_abandoned_requests_leak_no_connection_and_run_at_most_once() {
    on_each_version(Mode::Login, async |stage| {
        let pools = stage.pools(|config| config.max_connections_per_login = 2);
        let login = stage.login(&stage.alice);
        let mut answered = Vec::new();
        for id in 0..1000_u64 {
            let request = request(&stage.alice, [record("record", &id.to_string())]);
            // From "not even queued" to "just about to answer".
            let patience = Duration::from_micros(id * 37 % 2500);
            match tokio::time::timeout(patience, pools.run(&login, request)).await {
                Ok(Ok(_)) => answered.push(id.to_string()),
                Ok(Err(error)) => panic!("{id}: {error:?}"),
                Err(_) => {}
            }
        }
        let twice = "select count(*) from (select from api.run group by id having count(*) > 1) t";
        let reply = pools.run(&login, request(&stage.alice, [pid()])).await;
        assert!(reply.is_ok(), "{reply:?}");
        assert_eq!(stage.look(twice).await, "0");
        let kept = "select string_agg(id, ',') from api.run";
        let kept = stage.look(kept).await;
        let kept: std::collections::HashSet<_> = kept.split(',').collect();
        assert!(
            answered.iter().all(|id| kept.contains(id.as_str())),
            "answered and not there"
        );
        assert!(
            !answered.is_empty() && answered.len() < 1000,
            "{}",
            answered.len()
        );
        let status = pools.status();
        assert!(status.connections <= 2 && status.waiting == 0, "{status:?}");
        let backends = format!(
            "select count(*) <= {} from pg_stat_activity where usename = {}",
            status.connections,
            rolegate_pg::quote::literal(&login.user)
        );
        stage.until(&backends).await;
        pools.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_deadline_holds_wherever_the_request_is() {
    in_each_mode(async |stage| {
        let sleep = || Statement::prepared("select pg_sleep(10)");
        for statements in [
            vec![sleep()],
            vec![record("record", "late"), sleep()],
            vec![
                record("record", "late"),
                Statement::once("do $$ begin loop end loop; end $$"),
            ],
            // Rows without an end, which come as fast as they can be read.
            vec![
                record("record", "late"),
                Statement::once("select repeat('x', 100), generate_series(1, 1000000000)"),
            ],
        ] {
            // A machine with much to do may take longer than that to connect.
            stage.ask(&stage.alice, "select 'warm'").await.unwrap();
            let mut late = request(&stage.alice, statements);
            late.limits.deadline = Instant::now() + Duration::from_millis(100);
            late.limits.max_rows = u64::MAX;
            late.limits.max_bytes = u64::MAX;
            let began = Instant::now();
            let outcome = stage.run(&stage.alice, late).await;
            assert!(
                matches!(outcome, Err(SessionError::Deadline)),
                "{outcome:?}"
            );
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{:?}",
                began.elapsed()
            );
        }
        assert_eq!(stage.runs("late").await, "0");
        assert_eq!(
            stage.ask(&stage.alice, "select 'fine'").await.unwrap(),
            "fine"
        );
    })
    .await;
}

#[tokio::test]
async fn a_cancel_that_had_no_effect_is_asked_for_again() {
    on_each_version(Mode::Login, async |stage| {
        stage.ask(&stage.alice, "select 'warm'").await.unwrap();
        let once = "do $$ begin perform pg_sleep(10); \
            exception when query_canceled then perform pg_sleep(10); end $$";
        let mut late = request(&stage.alice, [Statement::once(once)]);
        late.limits.deadline = Instant::now() + Duration::from_millis(50);
        let outcome = stage.run(&stage.alice, late).await;
        assert!(
            matches!(outcome, Err(SessionError::Deadline)),
            "{outcome:?}"
        );
    })
    .await;
}

/// The time can be over before the server has read the request.
#[tokio::test]
async fn a_deadline_at_any_moment_cancels() {
    on_each_version(Mode::Login, async |stage| {
        stage
            .ask(&stage.alice, "select pg_backend_pid()")
            .await
            .unwrap();
        for micros in (0..3000).step_by(50) {
            let mut late = request(&stage.alice, [Statement::prepared("select pg_sleep(10)")]);
            late.limits.deadline = Instant::now() + Duration::from_micros(micros);
            let began = Instant::now();
            let outcome = stage.run(&stage.alice, late).await;
            assert!(
                matches!(
                    outcome,
                    Err(SessionError::Deadline | SessionError::Overloaded)
                ),
                "{micros}: {outcome:?}"
            );
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{micros}: {:?}",
                began.elapsed()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_that_ignores_cancels_loses_its_connection() {
    on_each_version(Mode::Login, async |stage| {
        let pools = stage.pools(|_| {});
        let stubborn = "do $$ begin loop begin perform pg_sleep(10); \
            exception when query_canceled then null; end; end loop; end $$";
        let login = stage.login(&stage.alice);
        pools
            .run(&login, request(&stage.alice, [pid()]))
            .await
            .unwrap();
        let mut deaf = request(&stage.alice, [Statement::once(stubborn)]);
        deaf.limits.deadline = Instant::now() + Duration::from_millis(500);
        let outcome = pools.run(&login, deaf).await;
        assert!(
            matches!(
                outcome,
                Err(SessionError::Lost {
                    nothing_ran: false,
                    ..
                })
            ),
            "{outcome:?}"
        );
        // The server finds out that nobody is there any more.
        let gone = format!(
            "select count(*) = 0 from pg_stat_activity where usename = {}",
            rolegate_pg::quote::literal(&login.user)
        );
        stage.until(&gone).await;
        pools.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_of_who_made_the_request_costs_no_connection() {
    in_each_mode(async |stage| {
        for _ in 0..6 {
            let broken = Request {
                finish: Some(Box::new(|_| panic!("a bug elsewhere"))),
                ..request(&stage.alice, [record("record", "panicked")])
            };
            let outcome = stage.run(&stage.alice, broken).await;
            assert!(
                matches!(outcome, Err(SessionError::Lost { .. })),
                "{outcome:?}"
            );
        }
        assert_eq!(
            stage.ask(&stage.alice, "select 'fine'").await.unwrap(),
            "fine"
        );
        assert_eq!(stage.runs("panicked").await, "0");
        assert_eq!(stage.pools.status().connections, 1);
    })
    .await;
}

#[tokio::test]
async fn who_cannot_connect_is_told_why_and_harms_nobody() {
    on_each_version(Mode::Login, async |stage| {
        let pools = stage.pools(|config| {
            config.max_connections = 2;
            config.max_connections_per_login = 2;
        });
        let pools = Arc::new(pools);
        let stranger = Login::peer("rolegate_owner");
        for _ in 0..3 {
            let began = Instant::now();
            let calls = (0..4).map(|_| pools.run(&stranger, request(&stage.alice, [pid()])));
            for outcome in join_all(calls).await {
                assert!(
                    matches!(outcome, Err(SessionError::Unavailable(_))),
                    "{outcome:?}"
                );
            }
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{:?}",
                began.elapsed()
            );
            let fine = pools
                .run(&stage.login(&stage.bob), request(&stage.bob, [pid()]))
                .await;
            assert!(fine.is_ok(), "{fine:?}");
        }
        pools.close().await;
    })
    .await;
}
