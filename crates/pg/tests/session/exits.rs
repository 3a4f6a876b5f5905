//! Escaping through the end of a request: deferred triggers, errors, transaction control, sizes.

use bytes::Bytes;
use rolegate_pg::session::{Access, End, Request, Rows, SessionError, Transaction};
use rolegate_pg::spool::{ReadError, spool};
use rolegate_pg::{Statement, quote};

use super::stage::{
    Mode, Stage, TEXT, code, explicit, in_each_mode, on_each_version, record, request, scalar,
};

const PID: &str = "select pg_backend_pid()";

/// A table whose deferred trigger runs the SQL that was inserted.
async fn delayed_fuse(stage: &Stage<'_>) {
    let sql = format!(
        "create table api.fuse (sql text);
        grant insert on api.fuse to public;
        create function api.burn() returns trigger language plpgsql as $$
        begin
            execute new.sql;
            return null;
        end $$;
        create constraint trigger burn after insert on api.fuse
            deferrable initially deferred for each row execute function api.burn();
        grant insert on api.bobs to {}",
        quote::ident(stage.bob.name())
    );
    stage.admin.batch_execute(&sql).await.unwrap();
}

fn light(sql: &str) -> Statement {
    Statement::prepared("insert into api.fuse values ($1)").param(TEXT, Some(sql.to_owned()))
}

#[tokio::test]
async fn a_deferred_trigger_fires_before_the_check() {
    in_each_mode(async |stage| {
        delayed_fuse(stage).await;
        for sql in [
            r#"select set_config('request.jwt.claims', '{"sub": "bob"}', true)"#,
            "select set_config('rolegate.signed_claims', '', true)",
        ] {
            let sql = format!("insert into api.run values ('fuse'); {sql}");
            let outcome = stage
                .run(&stage.alice, explicit(&stage.alice, [light(&sql)]))
                .await;
            assert!(
                matches!(outcome, Err(SessionError::IdentityChanged)),
                "{outcome:?}"
            );
        }
        let switch = format!("set local role {}", quote::ident(stage.bob.name()));
        let outcome = stage
            .run(&stage.alice, explicit(&stage.alice, [light(&switch)]))
            .await;
        match stage.mode {
            Mode::Login => assert_eq!(code(outcome), "42501"),
            Mode::Assume => {
                assert!(
                    matches!(outcome, Err(SessionError::IdentityChanged)),
                    "{outcome:?}"
                );
            }
        }
        let fails = stage
            .run(
                &stage.alice,
                explicit(&stage.alice, [light("select 1 / 0")]),
            )
            .await;
        let Err(SessionError::Database {
            statement: None,
            error,
            ..
        }) = fails
        else {
            panic!("{fails:?}")
        };
        assert_eq!(error.code, "22012");
        assert_eq!(stage.runs("fuse").await, "0");
    })
    .await;
}

/// A trigger can put itself off again, and then runs at commit, after the check.
#[tokio::test]
async fn a_trigger_that_defers_itself_again_is_still_the_role() {
    in_each_mode(async |stage| {
        delayed_fuse(stage).await;
        let later = |sql: &str| {
            let again = format!(
                "set constraints all deferred; insert into api.fuse values ({})",
                quote::literal(sql)
            );
            stage.run(&stage.alice, explicit(&stage.alice, [light(&again)]))
        };
        later("insert into api.run values (concat_ws(' ', current_user, rolegate.claim('sub')))")
            .await
            .unwrap();
        assert_eq!(stage.look("select id from api.run").await, {
            format!("{} alice", stage.alice.name())
        });
        // Claims can't become somebody else's there either.
        let forge = "set local rolegate.signed_claims = 'forged'; \
                     insert into api.run values (rolegate.claim('sub'))";
        assert_eq!(code(later(forge).await), "28000");
        let steal = format!(
            "set local role {}; insert into api.bobs values ('through the back door')",
            quote::ident(stage.bob.name())
        );
        let outcome = later(&steal).await;
        let stolen = stage.look("select count(*) from api.bobs").await;
        match stage.mode {
            Mode::Login => {
                assert_eq!((code(outcome), stolen.as_str()), ("42501".to_owned(), "1"));
            }
            // As with every switch that nothing can see any more: why such functions are refused
            // before they run.
            Mode::Assume => assert_eq!((outcome.is_ok(), stolen.as_str()), (true, "2")),
        }
        for who in [&stage.alice, &stage.bob] {
            let answer = stage.ask(who, "select current_user").await.unwrap();
            assert_eq!(answer, who.name());
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_in_any_statement_leaves_nothing() {
    in_each_mode(async |stage| {
        let before = stage.ask(&stage.alice, PID).await.unwrap();
        for make in [request, explicit] as [fn(&_, Vec<Statement>) -> Request; 2] {
            for bad in 0..4 {
                for broken in [
                    "select 1 / 0",
                    "select no_such_column",
                    "select 'x'::int",
                    "selec",
                ] {
                    let mut calls: Vec<_> = (0..4).map(|_| record("record", "kept?")).collect();
                    calls[bad] = Statement::prepared(broken);
                    let outcome = stage.run(&stage.alice, make(&stage.alice, calls)).await;
                    let Err(SessionError::Database { statement, .. }) = outcome else {
                        panic!("{broken}: {outcome:?}")
                    };
                    assert_eq!(statement, Some(bad), "{broken}");
                }
            }
        }
        assert_eq!(stage.runs("kept?").await, "0");
        assert_eq!(stage.ask(&stage.alice, PID).await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn a_procedure_that_commits_keeps_nothing() {
    in_each_mode(async |stage| {
        let call = || Statement::prepared("call api.commit_inside($1)").param(TEXT, Some("p"));
        let outcome = stage
            .run(&stage.alice, explicit(&stage.alice, [call()]))
            .await;
        assert_eq!(code(outcome), "2D000");
        let outcome = stage
            .attack(&stage.alice, "call api.commit_inside('p')")
            .await;
        assert_eq!(code(outcome), "2D000");
        assert_eq!(stage.runs("p").await, "0");
    })
    .await;
}

/// Why procedures, `do` blocks and callers' own text need `begin`, and a look at the text before:
/// without it such a statement ends the segment's transaction, and with it the role.
#[tokio::test]
async fn transaction_control_outside_of_begin_is_for_the_one_who_lets_it_in() {
    on_each_version(Mode::Assume, async |stage| {
        let call = Statement::prepared("call api.commit_inside($1)").param(TEXT, Some("p"));
        let outcome = stage.run(&stage.alice, request(&stage.alice, [call])).await;
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!(stage.runs("p again").await, "0");
        assert_eq!(
            stage.ask(&stage.bob, "select current_user").await.unwrap(),
            stage.bob.name()
        );
    })
    .await;
}

#[tokio::test]
async fn statements_that_need_a_transaction_of_their_own_are_refused() {
    in_each_mode(async |stage| {
        for sql in [
            "vacuum",
            "create database stolen",
            "reindex database",
            "alter system reset all",
        ] {
            for make in [request, explicit] as [fn(&_, [Statement; 1]) -> Request; 2] {
                let statement = Statement::once(sql);
                let outcome = stage
                    .run(&stage.alice, make(&stage.alice, [statement]))
                    .await;
                assert!(
                    matches!(outcome, Err(SessionError::Database { .. })),
                    "{sql} {outcome:?}"
                );
            }
        }
        for sql in ["copy api.run from stdin", "copy (select 1) to stdout"] {
            // Neither hangs, nor confuses what comes next.
            let statement = Statement::once(sql);
            let outcome = stage
                .run(&stage.alice, request(&stage.alice, [statement]))
                .await;
            assert!(
                outcome.is_ok() == sql.ends_with("stdout"),
                "{sql} {outcome:?}"
            );
            assert_eq!(
                stage.ask(&stage.alice, "select 'fine'").await.unwrap(),
                "fine"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_keeps_nothing_and_answers() {
    in_each_mode(async |stage| {
        let dry = Request {
            transaction: Transaction::Explicit(End::Rollback),
            ..request(&stage.alice, [record("record", "dry")])
        };
        assert_eq!(scalar(&stage.run(&stage.alice, dry).await.unwrap()), "dry");
        assert_eq!(stage.runs("dry").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_read_only_request_cannot_write_whatever_it_sets() {
    in_each_mode(async |stage| {
        let insert = "insert into api.run values ('written')";
        for transaction in [Transaction::Implicit, Transaction::Explicit(End::Commit)] {
            let read_only = |statements: Vec<Statement>| Request {
                access: Access::ReadOnly,
                transaction,
                ..request(&stage.alice, statements)
            };
            let run = |statements| stage.run(&stage.alice, read_only(statements));
            assert_eq!(code(run(vec![record("record", "written")]).await), "25006");
            for way in [
                "set transaction read write",
                "set local transaction_read_only = off",
                "select set_config('transaction_read_only', 'off', true)",
                "select set_config('transaction_read_only', 'off', false)",
                "set session characteristics as transaction read write",
                "set default_transaction_read_only = off",
                "reset transaction_read_only",
                "set transaction_read_only to default",
                "set local transaction_read_only to default",
                "select set_config('transaction_read_only', null, true)",
                "reset all",
            ] {
                let sql = format!("{way}; {insert}");
                let statement = Statement::prepared("select api.do_sql($1)").param(TEXT, Some(sql));
                let inside = code(run(vec![statement]).await);
                assert!(
                    ["0A000", "25001", "25006"].contains(&&*inside),
                    "{way}: {inside}"
                );
                // As a statement of its own, outside of any function.
                let alone = run(vec![Statement::once(way), Statement::once(insert)]).await;
                assert!(alone.is_err(), "{way}");
            }
            // Before 16 the mode can be reset, and set again so that nobody sees it.
            let sql = format!(
                "reset transaction_read_only; {insert}; set local transaction_read_only = on"
            );
            let statement = Statement::prepared("select api.do_sql($1)").param(TEXT, Some(sql));
            let outcome = code(run(vec![statement]).await);
            assert!(["0A000", "25006"].contains(&&*outcome), "{outcome}");
            // A cursor can put off the writing to the commit; it is closed before.
            let sql = "reset transaction_read_only; \
                declare late cursor with hold for select api.record('written')";
            let statement = Statement::prepared("select api.do_sql($1)").param(TEXT, Some(sql));
            let _ = run(vec![statement]).await;
        }
        assert_eq!(stage.runs("written").await, "0");
        // The next one may write again.
        stage
            .run(
                &stage.alice,
                request(&stage.alice, [record("record", "next")]),
            )
            .await
            .unwrap();
        assert_eq!(stage.runs("next").await, "1");
    })
    .await;
}

#[tokio::test]
async fn a_result_over_its_bounds_is_cancelled() {
    in_each_mode(async |stage| {
        let before = stage.ask(&stage.alice, PID).await.unwrap();
        for (sql, rows, bytes) in [
            ("select 'x', generate_series(1, 100000000)", 1000, u64::MAX),
            (
                "select repeat('x', 10000), generate_series(1, 100000000)",
                u64::MAX,
                1_000_000,
            ),
            (
                "select api.record('row'), generate_series(1, 100000000)",
                1000,
                u64::MAX,
            ),
        ] {
            let mut large = request(&stage.alice, [Statement::prepared(sql)]);
            large.limits.max_rows = rows;
            large.limits.max_bytes = bytes;
            let outcome = stage.run(&stage.alice, large).await;
            assert!(
                matches!(outcome, Err(SessionError::TooLarge)),
                "{sql}: {outcome:?}"
            );
        }
        assert_eq!(stage.look("select count(*) from api.run").await, "0");
        assert_eq!(
            stage.ask(&stage.alice, PID).await.unwrap(),
            before,
            "it is used again"
        );
    })
    .await;
}

/// One row can have a gigabyte. It is read, to come to the end, and never held.
#[tokio::test]
async fn one_row_over_the_bound_is_not_held_in_memory() {
    on_each_version(Mode::Login, async |stage| {
        let mut large = request(
            &stage.alice,
            [Statement::prepared("select repeat('x', 100000000)")],
        );
        large.limits.max_bytes = 1000;
        let before = peak_memory();
        let outcome = stage.run(&stage.alice, large).await;
        assert!(
            matches!(outcome, Err(SessionError::TooLarge)),
            "{outcome:?}"
        );
        let grown = peak_memory() - before;
        assert!(grown < 25_000, "{grown} kB");
        // The text of an error is no way around it.
        let sql = "do $$ begin raise '%', repeat('x', 40000000); end $$";
        assert_eq!(code(stage.attack(&stage.alice, sql).await), "54000");
        // Nor is a setting that the server reports.
        let sql = "select set_config('application_name', repeat('x', 40000000), false)";
        stage.attack(&stage.alice, sql).await.unwrap();
        let grown = peak_memory() - before;
        assert!(grown < 25_000, "{grown} kB");
        assert_eq!(
            stage.ask(&stage.alice, "select 'fine'").await.unwrap(),
            "fine"
        );
    })
    .await;
}

/// Kilobytes this process has ever had at once.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_slow_reader_holds_no_connection() {
    in_each_mode(async |stage| {
        let (writer, mut reader) = spool();
        let sql = "select repeat('x', 100000) from generate_series(1, 100)";
        let streamed = Request {
            stream: Some(writer),
            ..request(&stage.alice, [Statement::prepared(sql)])
        };
        // Nobody has read a byte, and both the request and the next one are over.
        stage.run(&stage.alice, streamed).await.unwrap();
        assert_eq!(
            stage.ask(&stage.bob, "select 'fine'").await.unwrap(),
            "fine"
        );
        let mut bytes = 0;
        while let Some(chunk) = reader.next().await.unwrap() {
            bytes += chunk.len();
        }
        assert_eq!(bytes, 100 * 100_001);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_did_not_end_well_says_so() {
    in_each_mode(async |stage| {
        for sql in [
            "select 1 / (5 - i) from generate_series(1, 10) i",
            "select generate_series(1, 100000000)",
        ] {
            let (writer, mut reader) = spool();
            let mut streamed = request(&stage.alice, [Statement::prepared(sql)]);
            streamed.stream = Some(writer);
            streamed.limits.max_rows = 1000;
            assert!(stage.run(&stage.alice, streamed).await.is_err());
            let end = loop {
                match reader.next().await {
                    Ok(Some(_)) => {}
                    end => break end,
                }
            };
            assert!(matches!(end, Err(ReadError::BrokenOff)), "{sql}: {end:?}");
        }
        // A reader that goes away ends the statement.
        let (writer, reader) = spool();
        drop(reader);
        let streamed = Request {
            stream: Some(writer),
            ..request(
                &stage.alice,
                [Statement::prepared(
                    "select api.record('row'), generate_series(1, 100000000)",
                )],
            )
        };
        let outcome = stage.run(&stage.alice, streamed).await;
        assert!(
            matches!(outcome, Err(SessionError::Abandoned)),
            "{outcome:?}"
        );
        assert_eq!(stage.look("select count(*) from api.run").await, "0");
    })
    .await;
}

fn store(results: &[Rows]) -> Statement {
    let value = results[0].scalar().cloned().unwrap_or_else(Bytes::new);
    Statement::once("insert into api.run values ('stored ' || $1)").param(TEXT, Some(value))
}

#[tokio::test]
async fn a_finish_commits_together_with_the_calls_or_not_at_all() {
    in_each_mode(async |stage| {
        for make in [request, explicit] as [fn(&_, [Statement; 1]) -> Request; 2] {
            let with_finish = |finish: rolegate_pg::session::Finish| Request {
                finish: Some(finish),
                ..make(&stage.alice, [record("record", "a")])
            };
            let reply = stage
                .run(&stage.alice, with_finish(Box::new(store)))
                .await
                .unwrap();
            assert_eq!(scalar(&reply), "a");
            let ids = "select string_agg(id, ',' order by id) from api.run";
            assert_eq!(stage.look(ids).await, "a,stored a");
            stage.admin.batch_execute("truncate api.run").await.unwrap();

            let bad = with_finish(Box::new(|_| Statement::once("select 1 / 0")));
            assert_eq!(code(stage.run(&stage.alice, bad).await), "22012");
            let failed = Request {
                statements: vec![record("record", "a"), Statement::once("select 1 / 0")],
                ..with_finish(Box::new(|_| panic!("there is nothing to finish")))
            };
            assert_eq!(code(stage.run(&stage.alice, failed).await), "22012");
            assert_eq!(stage.look("select count(*) from api.run").await, "0");
        }
    })
    .await;
}

/// The result was over its bound only when the call had ended already: no cancel comes in time,
/// and the call must not stay without what was to be stored with it.
#[tokio::test]
async fn a_call_whose_finish_is_missing_is_taken_back() {
    in_each_mode(async |stage| {
        for make in [request, explicit] as [fn(&_, [Statement; 2]) -> Request; 2] {
            let mut large = Request {
                finish: Some(Box::new(store)),
                ..make(
                    &stage.alice,
                    [
                        record("record", "half"),
                        Statement::once("select i from generate_series(1, 50) i"),
                    ],
                )
            };
            large.limits.max_rows = 10;
            let outcome = stage.run(&stage.alice, large).await;
            assert!(
                matches!(outcome, Err(SessionError::TooLarge)),
                "{outcome:?}"
            );
            assert_eq!(stage.runs("half").await, "0");
        }
    })
    .await;
}
