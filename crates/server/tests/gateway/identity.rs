//! Which tokens become which role, and which never do.

mod roles;
mod tokens;

use std::collections::BTreeSet;

use reqwest::StatusCode;
use rolegate_auth::IssuerConfig;
use rolegate_auth::issuer::KeySource;
use rolegate_model::{Clock as _, SystemClock};
use rolegate_testkit::identity_provider::{Algorithm, IdentityProvider};
use serde_json::{Value, json};

use crate::harness::{Gateway, NAME, code, text};

/// The audience of every test.
const AUDIENCE: &str = "rolegate-tests";

/// The issuer as a configuration file would describe it.
pub(crate) fn issuer(name: &str, iss: Option<&str>, keys: &Value) -> IssuerConfig {
    let mut config = json!({"name": name, "audiences": [AUDIENCE], "keys": keys});
    if let Some(iss) = iss {
        config["issuer"] = iss.into();
    }
    serde_json::from_value(config).expect("a valid issuer")
}

/// The stub as an issuer whose keys are fetched.
pub(crate) fn fetched(provider: &IdentityProvider) -> IssuerConfig {
    let config = issuer(
        "idp",
        Some(provider.issuer()),
        &json!({"jwks_url": provider.jwks_url()}),
    );
    assert!(matches!(config.keys, KeySource::JwksUrl(_)));
    config
}

/// Claims that lead to `role`. Issued a little in the future, inside of the leeway, because the
/// role of a test is younger than the present second.
pub(crate) fn claims(role: &str) -> Value {
    let now = SystemClock.now().as_second();
    json!({
        "sub": "somebody", "aud": AUDIENCE, "db_name": NAME, "db_role": role,
        "iat": now + 5, "exp": now + 600,
    })
}

/// The same with other members; `null` removes one.
pub(crate) fn claims_with(role: &str, changes: &Value) -> Value {
    let mut claims = claims(role);
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// Nothing a refusal says is about this installation: no chain of memberships, no text of the
/// database or of the program, none of these names.
pub(crate) fn assert_discreet(what: &str, body: &str, names: &[&str]) {
    let body = body.to_lowercase();
    let never = [
        "->",
        "superuser",
        "bypass",
        "replicat",
        "createrole",
        "predefined",
        "owns",
        "member of",
        "oid",
        "pg_",
        "panick",
        ".rs:",
        "fatal",
        "select ",
        "backtrace",
        "signature",
        "kid",
    ];
    for word in never.iter().chain(names) {
        assert!(
            !body.contains(&word.to_lowercase()),
            "{what}: the body has {word:?}: {body}"
        );
    }
}

/// Calls `who` with each token and compares status and code; all wrong ones are reported.
pub(crate) async fn assert_refused(
    gateway: &Gateway,
    cases: &[(&str, String, (u16, &str))],
    names: &[&str],
) {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (what, token, (status, expected)) in cases {
        assert!(seen.insert(what), "{what} is there twice");
        let (got, body) = text(gateway.post("/who", Some(token), "")).await;
        if (got.as_u16(), code(&body).as_str()) != (*status, *expected) {
            wrong.push(format!("{what}: {got} {body}"));
        }
        if got != StatusCode::OK {
            assert_discreet(what, &body, names);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `api.who()`, open to everybody who gets as far.
pub(crate) const WHO: &str = "create function api.who() returns text language sql stable as \
    $$select current_user::text$$; grant execute on function api.who() to public; \
    grant usage on schema api to public;";

pub(crate) const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
    Algorithm::HS256,
];
