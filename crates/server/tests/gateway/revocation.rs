//! A change of rights reaches callers within a second of its commit, without a restart.

use std::sync::Arc;

use rolegate_pg::quote;
use rolegate_server::config::Mode;
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use tokio::time::{Duration, Instant, timeout};

use crate::harness::{Gateway, Options, api, outcome};

/// SQL that takes something away from a role, whose name is quoted.
type Take = fn(&str) -> String;

/// What a call answers then.
type Answer = (u16, &'static str);

/// What is promised.
const ONE_SECOND: Duration = Duration::from_secs(1);

const FUNCTIONS: &str = "create function api.who() returns text language sql stable as \
    $$select current_user::text$$; \
    create function api.wait() returns text language sql volatile as \
    $$select 'awake' from pg_catalog.pg_sleep(60)$$; \
    select rolegate.declare_safe('api.wait()'); \
    revoke execute on all functions in schema api from public;";

/// A role that may call everything there is, with the gateway in this mode.
async fn start(db: &TestDatabase, mode: Mode) -> (Gateway, String, String) {
    let (base, attributes, admitted) = match mode {
        Mode::Login => ("ann", "login", Admitted::Login),
        Mode::Assume => ("eve", "nologin", Admitted::Assume),
    };
    let role = db.create_role_with(base, attributes, admitted).await;
    let grant = format!(
        "grant execute on all functions in schema api to {}",
        quote::ident(&role)
    );
    let exists = db
        .superuser()
        .await
        .query_opt("select 1 from pg_namespace where nspname = 'api'", &[])
        .await;
    let functions = if exists.expect("a row").is_some() {
        ""
    } else {
        FUNCTIONS
    };
    api(db, &[&role], &format!("{functions} {grant}")).await;
    let gateway = Gateway::start_with(
        db,
        Options {
            mode,
            ..Options::default()
        },
    )
    .await;
    let token = gateway.token(&role).await;
    becomes(
        &gateway,
        "/who",
        &token,
        (200, "ok"),
        Instant::now() + ONE_SECOND,
    )
    .await;
    (gateway, role, token)
}

async fn becomes(
    gateway: &Gateway,
    path: &str,
    token: &str,
    expected: (u16, &str),
    deadline: Instant,
) {
    loop {
        let (status, code, body) = outcome(gateway.post(path, Some(token), "")).await;
        if (status, code.as_str()) == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{path} is {status} {body} after a second, not {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Commits `sql`; returns until when its effect has to be there.
async fn commit(db: &TestDatabase, sql: &str) -> Instant {
    let client = db.superuser().await;
    client
        .batch_execute(sql)
        .await
        .expect("the statement is valid");
    Instant::now() + ONE_SECOND
}

#[tokio::test]
async fn an_api_token_works_from_its_minting_to_its_revocation() {
    for_each_version(async |db| {
        for mode in [Mode::Login, Mode::Assume] {
            let (gateway, role, _) = start(db, mode).await;
            let base = format!("operator_{}", &role[..3]);
            let attributes = format!(
                "login in role rolegate_operator, rolegate_admitted, {}",
                quote::ident(&role)
            );
            let operator = db.create_role_with(&base, &attributes, Admitted::No).await;
            db.list_in_peer_map(&[&operator]).await;
            let operator = db.connect_as(&operator).await;
            let mint = "select token_id, token from rolegate.mint_api_token($1, 'for a test')";
            let row = operator.query_one(mint, &[&role]).await.expect("a token");
            let (id, token): (uuid::Uuid, String) = (row.get(0), row.get(1));
            becomes(
                &gateway,
                "/who",
                &token,
                (200, "ok"),
                Instant::now() + ONE_SECOND,
            )
            .await;
            // One other digit is another token, and not one of ours.
            let mut wrong = token.clone();
            let last = if wrong.pop() == Some('0') { '1' } else { '0' };
            wrong.push(last);
            let (status, code, _) = outcome(gateway.post("/who", Some(&wrong), "")).await;
            assert_eq!((status, code.as_str()), (401, "token_invalid"));

            let revoke = "select rolegate.revoke_api_token($1)";
            operator.query_one(revoke, &[&id]).await.expect("revoked");
            let deadline = Instant::now() + ONE_SECOND;
            becomes(&gateway, "/who", &token, (401, "token_revoked"), deadline).await;
        }
    })
    .await;
}

#[tokio::test]
async fn every_way_of_taking_a_role_away_reaches_its_callers() {
    for_each_version(async |db| {
        let name = quote::ident;
        let ways: [(Mode, Take, Answer); 8] = [
            (
                Mode::Login,
                |role| format!("revoke execute on function api.who() from {role}"),
                (404, "function_not_found"),
            ),
            (
                Mode::Assume,
                |role| format!("revoke execute on function api.who() from {role}"),
                (404, "function_not_found"),
            ),
            (
                Mode::Login,
                |role| format!("revoke usage on schema api from {role}"),
                (404, "function_not_found"),
            ),
            (
                Mode::Login,
                |role| format!("revoke rolegate_admitted from {role}"),
                (403, "role_not_admitted"),
            ),
            (
                Mode::Assume,
                |role| format!("revoke {role} from rolegate_authenticator"),
                (403, "role_not_admitted"),
            ),
            (
                Mode::Login,
                |role| format!("alter role {role} nologin"),
                (403, "role_not_admitted"),
            ),
            (
                Mode::Login,
                |role| format!("alter role {role} valid until '2001-01-01'"),
                (403, "role_not_admitted"),
            ),
            (
                Mode::Login,
                |role| format!("grant pg_read_all_data to {role}"),
                (403, "role_forbidden"),
            ),
        ];
        for (mode, take, expected) in ways {
            let db = TestDatabase::create(db.version()).await;
            let (gateway, role, token) = start(&db, mode).await;
            let deadline = commit(&db, &take(&name(&role))).await;
            becomes(&gateway, "/who", &token, expected, deadline).await;
            drop(gateway);
            db.drop().await;
        }
        for mode in [Mode::Login, Mode::Assume] {
            let (gateway, role, token) = start(db, mode).await;
            let role = name(&role);
            let deadline = commit(db, &format!("drop owned by {role}; drop role {role}")).await;
            becomes(&gateway, "/who", &token, (403, "role_unknown"), deadline).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_revoked_role_runs_is_cancelled() {
    for_each_version(async |db| {
        let ways: [(Mode, Take); 3] = [
            (Mode::Login, |role| format!("alter role {role} nologin")),
            (Mode::Login, |role| format!("revoke rolegate_admitted from {role}")),
            (Mode::Assume, |role| format!("revoke {role} from rolegate_authenticator")),
        ];
        for (mode, take) in ways {
            let db = TestDatabase::create(db.version()).await;
            let (gateway, role, token) = start(&db, mode).await;
            let gateway = Arc::new(gateway);
            let (caller, bearer) = (Arc::clone(&gateway), token.clone());
            let running =
                tokio::spawn(async move { outcome(caller.post("/wait", Some(&bearer), "")).await });
            let superuser = db.superuser().await;
            // Activity of callers is not tracked; what is seen is that one of them sleeps.
            let sleeping = "select count(*) from pg_stat_activity where datname = current_database() \
                and wait_event = 'PgSleep'";
            let deadline = Instant::now() + Duration::from_secs(5);
            while superuser.query_one(sleeping, &[]).await.expect("a row").get::<_, i64>(0) == 0 {
                assert!(Instant::now() < deadline, "the call does not run");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let deadline = commit(&db, &take(&quote::ident(&role))).await;
            let left = deadline.duration_since(Instant::now());
            let (status, code, body) = timeout(left, running)
                .await
                .unwrap_or_else(|_| panic!("{mode:?}: it still runs after a second"))
                .expect("no panic");
            assert_eq!((status, code.as_str()), (403, "permission_denied"), "{body}");
            while superuser.query_one(sleeping, &[]).await.expect("a row").get::<_, i64>(0) > 0 {
                assert!(Instant::now() < deadline, "the statement still runs");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(gateway);
            db.drop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_function_can_be_called_without_a_restart() {
    for_each_version(async |db| {
        for mode in [Mode::Login, Mode::Assume] {
            let (gateway, role, token) = start(db, mode).await;
            let (status, code, _) = outcome(gateway.post("/fresh", Some(&token), "")).await;
            assert_eq!((status, code.as_str()), (404, "function_not_found"));
            let migration = format!(
                "create function api.fresh() returns int language sql stable as 'select 7'; \
                 revoke execute on function api.fresh() from public; \
                 grant execute on function api.fresh() to {}",
                quote::ident(&role)
            );
            let deadline = commit(db, &migration).await;
            becomes(&gateway, "/fresh", &token, (200, "ok"), deadline).await;
            // And one with the same name and other arguments is another function.
            let deadline = commit(db, "drop function api.fresh()").await;
            becomes(
                &gateway,
                "/fresh",
                &token,
                (404, "function_not_found"),
                deadline,
            )
            .await;
        }
    })
    .await;
}
