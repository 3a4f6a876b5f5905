//! Whatever one call does, the next caller on the connection sees what he always sees.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rolegate_pg::quote;
use tokio::runtime::Handle;

use super::stage::{Mode, Stage, in_each_mode};

/// Everything that could tell a caller about the one before him, in one value. Backends come and
/// go, and so do the names of settings that were once used; neither is in it.
const PROBE: &str = "select concat_ws(' | ',
    current_user, session_user, current_setting('role'), rolegate.claims()::text,
    current_setting('request.jwt.claims'), current_setting('search_path'),
    to_regclass('planted'), to_regclass('pg_temp.planted'),
    coalesce(current_setting('app.mark', true), ''),
    coalesce(current_setting('response.status', true), ''),
    (select count(*) from pg_cursors where is_holdable),
    (select count(*) from pg_listening_channels()),
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
    rolegate.session_statements() < 0,
    (select string_agg(name || '=' || setting, ',' order by name) from pg_settings
        where source in ('session', 'override', 'interactive')
            and name not in ('transaction_isolation', 'is_superuser')),
    date '2026-02-01', 1.5::float8, interval '1 day', E'\\\\x61'::bytea)";

fn statement(bob: &str) -> impl Strategy<Value = String> {
    let bob_ident = quote::ident(bob);
    let bob_literal = quote::literal(bob);
    let local = prop_oneof![Just("true"), Just("false")];
    let name = prop_oneof![
        Just("role"),
        Just("search_path"),
        Just("request.jwt.claims"),
        Just("app.mark"),
        Just("rolegate.signed_claims"),
        Just("response.status"),
        Just("row_security"),
        Just("default_transaction_read_only"),
        Just("statement_timeout"),
        Just("datestyle"),
        Just("transaction_read_only"),
        Just("client_encoding"),
        Just("bytea_output"),
        Just("extra_float_digits"),
        Just("intervalstyle"),
        Just("session_authorization"),
    ];
    let value = prop_oneof![
        Just("''".to_owned()),
        Just("'none'".to_owned()),
        Just("'on'".to_owned()),
        Just("'off'".to_owned()),
        Just("'evil'".to_owned()),
        Just("'0'".to_owned()),
        Just("'LATIN1'".to_owned()),
        Just("'{\"sub\": \"bob\"}'".to_owned()),
        Just("null".to_owned()),
        Just(bob_literal),
    ];
    prop_oneof![
        4 => (name.clone(), value, local)
            .prop_map(|(name, value, local)| {
                format!("select set_config('{name}', {value}, {local})")
            }),
        1 => name.prop_map(|name| format!("reset {name}")),
        3 => prop_oneof![
            Just("create temp table planted as select 'mine' as note".to_owned()),
            Just("grant all on planted to public".to_owned()),
            Just("declare c cursor with hold for select 1".to_owned()),
            Just("listen mine".to_owned()), Just("notify mine".to_owned()),
            Just("unlisten *".to_owned()), Just("close all".to_owned()),
            Just("select pg_advisory_lock(42)".to_owned()),
            Just("prepare mine as select 1".to_owned()),
            Just("deallocate all".to_owned()), Just("discard temp".to_owned()),
            Just("select setseed(0.5)".to_owned()), Just("select nextval('api.ticket')".to_owned()),
            Just("reset all".to_owned()), Just("reset role".to_owned()),
            Just("set session authorization default".to_owned()),
            Just(format!("set role {bob_ident}")),
            Just("set constraints all deferred".to_owned()),
            Just("insert into api.run values ('x')".to_owned()),
            Just("select 1 / 0".to_owned()),
        ],
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sequence_of_attacks_changes_what_the_next_caller_sees() {
    in_each_mode(async |stage| {
        let allow = format!(
            "grant temporary on database {} to public;
            grant execute on function pg_advisory_lock(bigint) to public",
            quote::ident(stage.db.name())
        );
        stage.admin.batch_execute(&allow).await.unwrap();
        let handle = Handle::current();
        tokio::task::block_in_place(|| attempts(stage, &handle));
    })
    .await;
}

fn attempts(stage: &Stage<'_>, handle: &Handle) {
    let next = match stage.mode {
        Mode::Login => stage.alice.called("amy"),
        Mode::Assume => stage.bob.clone(),
    };
    let see = || handle.block_on(stage.ask(&next, PROBE)).unwrap();
    let expected = see();
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(
            &proptest::collection::vec(statement(stage.bob.name()), 1..5),
            |statements| {
                // An error of one must not hide the others.
                let mut each = String::new();
                for sql in &statements {
                    each.push_str("begin execute ");
                    each.push_str(&quote::literal(sql));
                    each.push_str("; exception when others then null; end; ");
                }
                let with_all = format!("do {}", quote::literal(&format!("begin {each} end")));
                // Also one after another, where a subtransaction would undo or forbid it.
                for sql in [with_all, statements.join("; ")] {
                    let _ = handle.block_on(stage.attack(&stage.alice, &sql));
                    prop_assert_eq!(see(), expected.clone());
                }
                Ok(())
            },
        )
        .unwrap();
}
