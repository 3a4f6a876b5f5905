//! Leaving something behind for whoever comes next on the same connection.

use rolegate_pg::quote;
use tokio_postgres::Client;

use super::stage::{Mode, Principal, Stage, in_each_mode};

/// What to leave, and how the next caller would notice.
struct Leftover {
    attack: &'static str,
    probe: &'static str,
}

const LEFTOVERS: [Leftover; 17] = [
    Leftover {
        attack: "select set_config('app.mark', 'mine', false)",
        // A name that was once set reads as '' and no longer as NULL; the value is gone.
        probe: "select coalesce(current_setting('app.mark', true), '')",
    },
    Leftover {
        attack: "create temp table planted as select 'mine' as note; grant all on planted to public",
        probe: "select to_regclass('pg_temp.planted') is not null",
    },
    Leftover {
        attack: "declare mine cursor with hold for select 1 from generate_series(1, 10)",
        probe: "select exists (select from pg_cursors where name = 'mine')",
    },
    Leftover {
        attack: "listen mine",
        probe: "select exists (select from pg_listening_channels())",
    },
    Leftover {
        attack: "select pg_advisory_lock(42)",
        probe: "select exists (select from pg_locks where locktype = 'advisory' \
            and pid = pg_backend_pid())",
    },
    Leftover {
        attack: "select nextval('api.ticket')",
        probe: "select api.last_ticket()",
    },
    Leftover {
        attack: "set session default_transaction_read_only = on",
        probe: "select current_setting('default_transaction_read_only')",
    },
    Leftover {
        attack: "set session characteristics as transaction isolation level serializable",
        probe: "select current_setting('default_transaction_isolation')",
    },
    Leftover {
        attack: "set session search_path = evil",
        probe: "select current_setting('search_path')",
    },
    Leftover {
        attack: "set session session_replication_role = replica",
        probe: "select current_setting('session_replication_role')",
    },
    Leftover {
        // Long enough not to end the attack itself.
        attack: "set session statement_timeout = '50s'",
        probe: "select current_setting('statement_timeout')",
    },
    Leftover {
        attack: "set session statement_timeout = 0; set session lock_timeout = '50s'",
        probe: "select current_setting('lock_timeout')",
    },
    Leftover {
        attack: "set session row_security = off",
        probe: "select current_setting('row_security')",
    },
    Leftover {
        attack: "set session datestyle = 'German, DMY'",
        probe: "select date '2026-02-01'::text",
    },
    Leftover {
        attack: "set session standard_conforming_strings = off",
        probe: "select current_setting('standard_conforming_strings')",
    },
    Leftover {
        attack: "set session client_connection_check_interval = 0; \
            set session idle_session_timeout = '1h'",
        probe: "select current_setting('idle_session_timeout')",
    },
    Leftover {
        attack: "set session response.status = '418'",
        probe: "select coalesce(current_setting('response.status', true), '')",
    },
];

async fn give_rights_back(stage: &Stage<'_>) {
    let alice = quote::ident(stage.alice.name());
    let sql = format!(
        "grant temporary on database {} to public;
        grant execute on function pg_advisory_lock(bigint) to public;
        grant set on parameter session_replication_role to {alice};
        create function api.last_ticket() returns text language plpgsql as $$
        begin
            return lastval();
        exception when object_not_in_prerequisite_state then
            return 'none';
        end $$",
        quote::ident(stage.db.name())
    );
    stage.admin.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn the_next_caller_finds_nothing_of_the_last_one() {
    in_each_mode(async |stage| {
        give_rights_back(stage).await;
        let next = next_caller(stage);
        let backend = stage
            .ask(&stage.alice, "select pg_backend_pid()")
            .await
            .unwrap();
        for Leftover { attack, probe } in LEFTOVERS {
            let before = stage.ask(&next, probe).await.unwrap();
            stage.attack(&stage.alice, attack).await.unwrap();
            assert_eq!(stage.ask(&next, probe).await.unwrap(), before, "{attack}");
        }
        let same = stage.ask(&next, "select pg_backend_pid()").await.unwrap();
        assert_eq!(same, backend, "cleaned, not replaced");
        stage
            .admin
            .batch_execute(&format!(
                "revoke set on parameter session_replication_role from {}",
                quote::ident(stage.alice.name())
            ))
            .await
            .unwrap();
    })
    .await;
}

/// That each of them would be found without the clean-up: the test above can fail.
#[tokio::test]
async fn without_the_clean_up_each_of_them_is_found() {
    in_each_mode(async |stage| {
        give_rights_back(stage).await;
        for Leftover { attack, probe } in LEFTOVERS {
            let connection = stage.db.connect_as(&stage.login(&stage.alice).user).await;
            let next = next_caller(stage);
            let before = bare(&connection, &next, probe).await;
            let sql = format!("select api.do_sql({})", quote::literal(attack));
            bare(&connection, &stage.alice, &sql).await;
            assert_ne!(bare(&connection, &next, probe).await, before, "{attack}");
        }
        stage
            .admin
            .batch_execute(&format!(
                "revoke set on parameter session_replication_role from {}",
                quote::ident(stage.alice.name())
            ))
            .await
            .unwrap();
    })
    .await;
}

/// In login mode somebody else with the same role, in assume mode another role.
fn next_caller(stage: &Stage<'_>) -> Principal {
    match stage.mode {
        Mode::Login => stage.alice.called("amy"),
        Mode::Assume => stage.bob.clone(),
    }
}

/// A call as others make it: a local role and a transaction, and nothing afterwards.
async fn bare(connection: &Client, who: &Principal, sql: &str) -> String {
    let role = quote::ident(who.name());
    connection
        .batch_execute(&format!("begin; set local role {role}"))
        .await
        .unwrap();
    let messages = connection.simple_query(sql).await;
    let answer = match messages {
        Ok(messages) => messages
            .iter()
            .find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .unwrap_or_default(),
        // A connection that was left read-only, for example.
        Err(error) => format!("{:?}", error.code()),
    };
    if connection.batch_execute("commit").await.is_err() {
        return "the connection is of no use".to_owned();
    }
    answer
}

#[tokio::test]
async fn a_notification_that_was_listened_for_harms_nobody() {
    in_each_mode(async |stage| {
        stage
            .attack(&stage.alice, "listen mine; notify mine, 'at once'")
            .await
            .unwrap();
        stage
            .admin
            .batch_execute("notify mine, 'later'")
            .await
            .unwrap();
        let own = "listen mine; select pg_notify('mine', 'own')";
        for _ in 0..3 {
            stage.attack(&stage.alice, own).await.unwrap();
            assert_eq!(
                stage.ask(&stage.bob, "select 'fine'").await.unwrap(),
                "fine"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_knows_the_next_callers_random_numbers() {
    in_each_mode(async |stage| {
        let draw = "select random()";
        let next = next_caller(stage);
        stage
            .attack(&stage.alice, "select setseed(0.25)")
            .await
            .unwrap();
        let first = stage.ask(&next, draw).await.unwrap();
        stage
            .attack(&stage.alice, "select setseed(0.25)")
            .await
            .unwrap();
        assert_ne!(stage.ask(&next, draw).await.unwrap(), first);

        let connection = stage.db.connect_as(&stage.login(&stage.alice).user).await;
        let seed = "select api.do_sql('select setseed(0.25)')";
        bare(&connection, &stage.alice, seed).await;
        let first = bare(&connection, &next, draw).await;
        bare(&connection, &stage.alice, seed).await;
        assert_eq!(
            bare(&connection, &next, draw).await,
            first,
            "without the clean-up they do"
        );
    })
    .await;
}

/// The encoding changes at once, also for what we send after it in the same batch.
#[tokio::test]
async fn the_encoding_of_a_caller_is_nobody_elses() {
    in_each_mode(async |stage| {
        let jose = stage.bob.called("josé");
        for sql in [
            "set client_encoding = 'LATIN1'",
            "set local client_encoding = 'SJIS'",
        ] {
            let outcome = stage.attack(&stage.bob, sql).await;
            assert!(outcome.is_ok(), "{sql}: {outcome:?}");
            // Our check then says other bytes than we signed, and the request is rolled back.
            let outcome = stage.attack(&jose, sql).await;
            assert!(outcome.is_err(), "{sql}: {outcome:?}");
            let answer = "select concat_ws(' ', 'é', rolegate.claim('sub'))";
            assert_eq!(stage.ask(&jose, answer).await.unwrap(), "é josé");
        }
    })
    .await;
}
