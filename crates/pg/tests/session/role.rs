//! Leaving the role.

use rolegate_pg::quote;
use rolegate_pg::session::SessionError;

use super::stage::{Mode, Principal, Stage, code, in_each_mode, on_each_version, request};

/// Every way to become somebody else that SQL knows, and needs no superuser for.
fn switches(other: &str) -> Vec<String> {
    let (ident, literal) = (quote::ident(other), quote::literal(other));
    let mut ways = vec![
        "reset role".to_owned(),
        "set role none".to_owned(),
        "set local role none".to_owned(),
        "set session authorization default".to_owned(),
        "reset session authorization".to_owned(),
        format!("set role {ident}"),
        format!("set local role {ident}"),
        "select set_config('role', 'none', true)".to_owned(),
        "select set_config('role', 'none', false)".to_owned(),
        format!("select set_config('role', {literal}, true)"),
        format!("select set_config('role', {literal}, false)"),
    ];
    for statement in ways.clone() {
        let execute = format!("begin execute {}; end", quote::literal(&statement));
        ways.push(format!("do {}", quote::literal(&execute)));
    }
    ways
}

const IDENTITY: &str = "select concat_ws(' ', current_user, session_user)";

#[tokio::test]
async fn a_login_is_nobody_else_whatever_it_runs() {
    on_each_version(Mode::Login, async |stage| {
        let alice = stage.alice.name();
        for way in switches(stage.bob.name()) {
            match stage.attack_and_read(&stage.alice, &way, IDENTITY).await {
                Ok(identity) => assert_eq!(identity, format!("{alice} {alice}"), "{way}"),
                // She is no member of bob.
                Err(SessionError::Database { error, .. }) => {
                    assert_eq!(error.code, "42501", "{way}: {error:?}");
                }
                Err(other) => panic!("{way}: {other:?}"),
            }
            let theft = stage
                .attack_and_read(&stage.alice, &way, "select note from api.bobs")
                .await;
            assert_eq!(code(theft), "42501", "{way}");
            assert_unharmed(stage).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_switched_role_that_stays_switched_is_rolled_back() {
    on_each_version(Mode::Assume, async |stage| {
        for way in switches(stage.bob.name()) {
            let with_trace = format!("insert into api.run values ('left'); {way}");
            let outcome = stage
                .attack_and_read(&stage.alice, &with_trace, "select note from api.bobs")
                .await;
            // Either she is bob now, and the check says so, or the login, which may read nothing.
            match outcome {
                Err(SessionError::IdentityChanged) => {}
                Err(SessionError::Database { error, .. }) if error.code == "42501" => {}
                other => panic!("{way}: {other:?}"),
            }
            let outcome = stage.attack(&stage.alice, &with_trace).await;
            assert!(
                matches!(outcome, Err(SessionError::IdentityChanged)),
                "{way}: {outcome:?}"
            );
            assert_unharmed(stage).await;
        }
        assert_eq!(stage.runs("left").await, "0");
    })
    .await;
}

/// Why functions with dynamic SQL are refused in assume mode before they run: this one comes back
/// in time, and no check at the end can see it.
#[tokio::test]
async fn assume_mode_cannot_stop_who_switches_reads_and_switches_back() {
    on_each_version(Mode::Assume, async |stage| {
        stage
            .admin
            .batch_execute(
                "create function api.burgle(victim text) returns text language plpgsql as $$
                declare
                    me constant text := current_user;
                    loot text;
                begin
                    perform set_config('role', victim, true);
                    loot := api.read_sql('select note from api.bobs');
                    perform set_config('role', me, true);
                    return loot;
                end $$",
            )
            .await
            .unwrap();
        let sql = format!("select api.burgle({})", quote::literal(stage.bob.name()));
        assert_eq!(stage.ask(&stage.alice, &sql).await.unwrap(), "of bob");
    })
    .await;
    on_each_version(Mode::Login, async |stage| {
        let sql = format!("set role {}", quote::ident(stage.bob.name()));
        assert_eq!(code(stage.attack(&stage.alice, &sql).await), "42501");
    })
    .await;
}

#[tokio::test]
async fn only_a_superuser_may_change_the_session_user() {
    in_each_mode(async |stage| {
        for sql in [
            format!(
                "set session authorization {}",
                quote::ident(stage.bob.name())
            ),
            "set session authorization postgres".to_owned(),
            "set session authorization rolegate_owner".to_owned(),
            "set role postgres".to_owned(),
            "set role rolegate_owner".to_owned(),
        ] {
            assert_eq!(
                code(stage.attack(&stage.alice, &sql).await),
                "42501",
                "{sql}"
            );
        }
        assert_unharmed(stage).await;
    })
    .await;
}

/// The check compares texts. A caller who may create operators could otherwise say what `=` is.
#[tokio::test]
async fn the_check_does_not_believe_the_callers_operators() {
    on_each_version(Mode::Assume, async |stage| {
        agreeable_operators(stage).await;
        let control = stage
            .attack_and_read(
                &stage.alice,
                "select set_config('search_path', 'evil, pg_catalog', true)",
                "select 'a'::text = 'b'::text",
            )
            .await;
        assert_eq!(control.unwrap(), "true", "the operator is not in the way");
        for way in ["select set_config('role', 'none', true)", "set role none"] {
            let sql = format!("set local search_path = evil, pg_catalog; {way}");
            let outcome = stage.attack(&stage.alice, &sql).await;
            assert!(
                matches!(outcome, Err(SessionError::IdentityChanged)),
                "{way}: {outcome:?}"
            );
        }
        let mut evil = request(
            &stage.alice,
            [rolegate_pg::Statement::once(
                "select set_config('role', 'none', true)",
            )],
        );
        evil.search_path = "evil, pg_catalog, pg_temp".into();
        let outcome = stage.run(&stage.alice, evil).await;
        assert!(
            matches!(outcome, Err(SessionError::IdentityChanged)),
            "{outcome:?}"
        );
    })
    .await;
}

/// A role may change its own settings, which hold from the next connection on.
#[tokio::test]
async fn what_a_role_sets_for_itself_does_not_reach_our_statements() {
    on_each_version(Mode::Login, async |stage| {
        agreeable_operators(stage).await;
        let me = quote::ident(stage.alice.name());
        for setting in [
            "search_path = evil, pg_catalog",
            "datestyle = 'German, DMY'",
            "client_min_messages = 'debug5'",
            "client_encoding = 'LATIN1'",
            "role = 'none'",
            "default_transaction_read_only = off",
        ] {
            let sql = format!("alter role {me} set {setting}");
            stage.attack(&stage.alice, &sql).await.unwrap();
        }
        // PostgreSQL itself keeps these for superusers.
        for name in [
            "request.jwt.claims",
            "rolegate.signed_claims",
            "response.status",
        ] {
            let sql = format!("alter role {me} set {name} = '500'");
            assert_eq!(
                code(stage.attack(&stage.alice, &sql).await),
                "42501",
                "{name}"
            );
        }
        let before = pid(stage, &stage.alice).await;
        stage.pools.close_login(stage.alice.name());
        assert_ne!(pid(stage, &stage.alice).await, before);
        let seen = stage
            .ask(
                &stage.alice,
                "select concat_ws(' ', date '2026-02-01', current_setting('client_encoding'), \
                 current_setting('search_path'), rolegate.claim('sub'))",
            )
            .await
            .unwrap();
        assert_eq!(seen, "2026-02-01 UTF8 api, pg_temp alice");
        assert_unharmed(stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_role_that_cannot_be_switched_to_runs_nothing() {
    on_each_version(Mode::Assume, async |stage| {
        let stranger = stage
            .db
            .create_role_with("stranger", "login", rolegate_testkit::Admitted::No)
            .await;
        for (name, expected) in [
            (stranger.as_str(), "42501"),
            ("nobody at all", "22023"),
            ("postgres", "42501"),
            ("rolegate_owner", "42501"),
        ] {
            let mut who = stage.alice.clone();
            who.role.name = rolegate_model::RoleName::new(name).unwrap();
            let insert = rolegate_pg::Statement::once("insert into api.run values ('stranger')");
            let outcome = stage.run(&who, request(&who, [insert])).await;
            assert!(
                matches!(outcome, Err(SessionError::Setup { .. })),
                "{name}: {outcome:?}"
            );
            assert_eq!(code(outcome), expected, "{name}");
        }
        assert_eq!(stage.runs("stranger").await, "0");
        assert_unharmed(stage).await;
    })
    .await;
}

/// A switch for the session under one for the transaction: the check sees the upper one only.
#[tokio::test]
async fn a_role_left_for_after_the_commit_is_gone_with_the_request() {
    on_each_version(Mode::Assume, async |stage| {
        let under = format!(
            "select set_config('role', {}, false); select set_config('role', {}, true)",
            quote::literal(stage.bob.name()),
            quote::literal(stage.alice.name())
        );
        stage.attack(&stage.alice, &under).await.unwrap();
        // Whoever the connection is between requests, seen by a text that nobody should let in.
        let bare = [
            "commit",
            "insert into api.run values (current_user)",
            "commit",
        ];
        let outcome = stage
            .run(
                &stage.alice,
                request(&stage.alice, bare.map(rolegate_pg::Statement::once)),
            )
            .await;
        assert!(
            matches!(outcome, Err(SessionError::IdentityChanged)),
            "{outcome:?}"
        );
        assert_eq!(
            stage.look("select id from api.run").await,
            "rolegate_authenticator"
        );
        assert_unharmed(stage).await;
    })
    .await;
}

/// A schema in which everything is equal to everything.
async fn agreeable_operators(stage: &Stage<'_>) {
    let me = quote::ident(stage.alice.name());
    let sql = format!(
        "create schema evil authorization {me};
        set role {me};
        create function evil.yes(text, text) returns boolean language sql as 'select true';
        create function evil.yes(name, text) returns boolean language sql as 'select true';
        create function evil.one(text, name) returns text language sql as 'select ''1''::text';
        create operator evil.= (leftarg = text, rightarg = text, function = evil.yes);
        create operator evil.= (leftarg = name, rightarg = text, function = evil.yes);
        create function evil.nothing(numeric, integer) returns numeric language sql as 'select 0.0';
        create operator evil.* (leftarg = numeric, rightarg = integer, function = evil.nothing);
        create operator evil.|| (leftarg = text, rightarg = name, function = evil.one);
        grant usage on schema evil to public;
        reset role"
    );
    stage.admin.batch_execute(&sql).await.unwrap();
}

async fn pid(stage: &Stage<'_>, who: &Principal) -> String {
    stage.ask(who, "select pg_backend_pid()").await.unwrap()
}

/// The next callers are who they are, on whatever connection.
async fn assert_unharmed(stage: &Stage<'_>) {
    for (who, table) in [(&stage.alice, "alices"), (&stage.bob, "bobs")] {
        let sql = format!("select api.who() || ' ' || note from api.{table}");
        let session_user = match stage.mode {
            Mode::Login => who.name(),
            Mode::Assume => "rolegate_authenticator",
        };
        let sub = if table == "alices" { "alice" } else { "bob" };
        assert_eq!(
            stage.ask(who, &sql).await.unwrap(),
            format!("{} {session_user} {sub} of {sub}", who.name())
        );
    }
}
