//! Prepared statements: ours under names that nobody can read, and what happens if they can.

use rolegate_pg::Statement;

use super::stage::{Mode, Stage, TEXT, code, in_each_mode, on_each_version, request, scalar};

const PID: &str = "select pg_backend_pid()";
const WHO: &str = "select api.who()";

/// Puts another statement under the name of the one that asks who calls.
const SWAP: &str = "do $do$
    declare
        ours record;
    begin
        for ours in select name, statement from pg_prepared_statements
            where not from_sql and statement like '%api.who()%'
        loop
            execute format('deallocate %I', ours.name);
            execute format('prepare %I as select ''stolen''', ours.name);
        end loop;
    end
    $do$";

async fn show_names(stage: &Stage<'_>) {
    let sql = "grant execute on function pg_catalog.pg_prepared_statement() to public";
    stage.admin.batch_execute(sql).await.unwrap();
}

#[tokio::test]
async fn names_of_our_statements_cannot_be_read() {
    in_each_mode(async |stage| {
        let names = "select string_agg(name, ' ') from pg_prepared_statements";
        assert_eq!(code(stage.ask(&stage.alice, names).await), "42501");
        assert_eq!(code(stage.attack(&stage.alice, SWAP).await), "42501");
        let counts = "select rolegate.session_statements() > 0";
        assert_eq!(stage.ask(&stage.alice, counts).await.unwrap(), "t");
    })
    .await;
}

#[tokio::test]
async fn a_statement_put_under_our_name_is_run_by_nobody_else() {
    in_each_mode(async |stage| {
        show_names(stage).await;
        let amy = stage.alice.called("amy");
        let who = stage.ask(&amy, WHO).await.unwrap();
        assert!(who.ends_with(" amy"), "{who}");
        let before = stage.ask(&amy, PID).await.unwrap();
        assert_eq!(stage.ask(&amy, PID).await.unwrap(), before);
        // The swap itself works, and the same call would run the stolen statement.
        stage.attack(&stage.alice, SWAP).await.unwrap();
        assert_eq!(stage.ask(&amy, WHO).await.unwrap(), who);
        assert_ne!(
            stage.ask(&amy, PID).await.unwrap(),
            before,
            "the connection is not used again"
        );

        // In one request, whose statements are all one caller's.
        let swap = Statement::prepared("select api.do_sql($1)").param(TEXT, Some(SWAP));
        stage.ask(&amy, WHO).await.unwrap();
        let both = request(&stage.alice, [swap, Statement::prepared(WHO)]);
        assert_eq!(
            scalar(&stage.run(&stage.alice, both).await.unwrap()),
            "stolen"
        );
        assert_eq!(stage.ask(&amy, WHO).await.unwrap(), who);
    })
    .await;
}

#[tokio::test]
async fn a_connection_with_other_statements_than_ours_is_closed() {
    for visible in [false, true] {
        in_each_mode(async |stage| {
            if visible {
                show_names(stage).await;
            }
            for (attack, may_fail) in [
                ("prepare mine as select 1", false),
                // The check is prepared where names are hidden, and gone then.
                ("deallocate all", true),
                (
                    "deallocate all; prepare a as select 1; prepare b as select 2",
                    true,
                ),
            ] {
                let before = stage.ask(&stage.alice, PID).await.unwrap();
                let outcome = stage.attack(&stage.alice, attack).await;
                assert!(may_fail || outcome.is_ok(), "{attack}: {outcome:?}");
                assert_ne!(
                    stage.ask(&stage.alice, PID).await.unwrap(),
                    before,
                    "{attack}"
                );
            }
        })
        .await;
    }
}

/// An atomic batch calls the same function many times.
#[tokio::test]
async fn the_same_statement_twice_in_one_request_is_prepared_once() {
    in_each_mode(async |stage| {
        let before = stage.ask(&stage.alice, PID).await.unwrap();
        for repeat in 0..2 {
            let calls: Vec<_> = (0..5)
                .map(|i| Statement::prepared("select $1").param(TEXT, Some(i.to_string())))
                .collect();
            let reply = stage
                .run(&stage.alice, request(&stage.alice, calls))
                .await
                .unwrap();
            assert_eq!((reply.results.len(), scalar(&reply)), (5, "4".to_owned()));
            assert_eq!(
                stage.ask(&stage.alice, PID).await.unwrap(),
                before,
                "{repeat}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn more_statements_than_a_connection_keeps_push_the_oldest_out() {
    on_each_version(Mode::Login, async |stage| {
        let before = stage.ask(&stage.alice, PID).await.unwrap();
        for i in 0..300 {
            let sql = format!("select {i} + 0");
            assert_eq!(stage.ask(&stage.alice, &sql).await.unwrap(), i.to_string());
            if i % 20 == 0 {
                // An error makes the server skip whatever stands behind it.
                let broken = format!("select {i} / 0");
                assert_eq!(code(stage.ask(&stage.alice, &broken).await), "22012");
            }
        }
        assert_eq!(stage.ask(&stage.alice, PID).await.unwrap(), before);
        let ours = "select rolegate.session_statements()::text";
        let ours: u32 = stage
            .ask(&stage.alice, ours)
            .await
            .unwrap()
            .parse()
            .unwrap();
        assert!(ours < 80, "{ours}");
    })
    .await;
}

#[tokio::test]
async fn roles_share_no_statement() {
    on_each_version(Mode::Assume, async |stage| {
        show_names(stage).await;
        for who in [&stage.alice, &stage.bob, &stage.alice, &stage.bob] {
            stage.ask(who, WHO).await.unwrap();
        }
        let count = "select count(distinct name) from pg_prepared_statements \
                     where statement = 'select api.who()'";
        assert_eq!(stage.ask(&stage.alice, count).await.unwrap(), "2");
    })
    .await;
}
