//! Attacks that worked on other gateways, over HTTP and in both modes.

mod leaks;
mod names;
mod server_log;
mod sessions;
mod statements;

use rolegate_server::config::Mode;
use rolegate_testkit::{Admitted, TestDatabase};

use crate::harness::{Gateway, Options};

/// Two tenants at a gateway with one connection for each login, so that in assume mode they take
/// turns on the same one.
pub(crate) struct Tenants {
    pub(crate) gateway: Gateway,
    pub(crate) demo: String,
    pub(crate) bob: String,
    pub(crate) demo_token: String,
    pub(crate) bob_token: String,
}

/// Both modes.
pub(crate) const MODES: [Mode; 2] = [Mode::Login, Mode::Assume];

/// Makes the tenants of a mode, runs `definitions` of them, and starts the gateway.
pub(crate) async fn tenants(
    db: &TestDatabase,
    mode: Mode,
    definitions: impl Fn(&str, &str) -> String,
) -> Tenants {
    let (prefix, attributes, admitted) = match mode {
        Mode::Login => ("l", "login", Admitted::Login),
        Mode::Assume => ("a", "nologin", Admitted::Assume),
    };
    let demo = db
        .create_role_with(&format!("{prefix}_demo"), attributes, admitted)
        .await;
    let bob = db
        .create_role_with(&format!("{prefix}_bob"), attributes, admitted)
        .await;
    let sql = definitions(&demo, &bob);
    let client = db.superuser().await;
    client
        .batch_execute("drop schema if exists api cascade; create schema api; grant usage on schema api to public")
        .await
        .expect("the schema is new");
    client
        .batch_execute(&sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let options = Options {
        mode,
        connections_per_login: 1,
        ..Options::default()
    };
    let gateway = Gateway::start_with(db, options).await;
    let (demo_token, bob_token) = (gateway.token(&demo).await, gateway.token(&bob).await);
    Tenants {
        gateway,
        demo,
        bob,
        demo_token,
        bob_token,
    }
}
