//! The two security matrices: what every route answers to every kind of credential, and what
//! every kind of role gets from every kind of function. Their goldens are texts beside this file,
//! to be read in a review; a difference fails the test and prints the whole new text.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use rolegate_auth::PasswordCheck;
use rolegate_auth::password::{LoginLimits, PasswordTarget};
use rolegate_model::{Clock as _, SystemClock};
use rolegate_pg::quote;
use rolegate_server::config::Mode;
use rolegate_server::router::GATEWAY_ROUTES;
use rolegate_testkit::identity_provider::{Algorithm, IdentityProvider, SigningKey};
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::json;

use crate::harness::{Gateway, NAME, Options, api, outcome, text};
use crate::identity::{claims, claims_with, fetched};

/// Compares with a golden. The new text is the panic's message, ready to be reviewed and kept.
fn assert_golden(name: &str, golden: &str, actual: &str) {
    assert!(
        golden == actual,
        "{name} differs from what is committed; the outcomes are now:\n{actual}"
    );
}

/// Appends a line.
fn line(text: &mut String, line: fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a text takes any line");
}

/// What is sent to a route; `None` for one without a row, which fails the test.
fn body_of(method: &str, route: &str) -> Option<&'static str> {
    Some(match (method, route) {
        ("POST", "/api/{database}") => r#"{"jsonrpc": "2.0", "id": 1, "method": "secret"}"#,
        ("POST", "/api/{database}/login") => r#"{"login": "nobody", "password": "wrong"}"#,
        ("POST", "/api/{database}/{method}") => "{}",
        ("POST", "/query" | "/query/explain") => r#"{"sql": "select n from api.guarded"}"#,
        (
            "GET",
            "/api/{database}/openapi.json"
            | "/api/{database}/openrpc.json"
            | "/api/{database}/events"
            | "/api/{database}/{method}"
            | "/query"
            | "/q/{hash}/{version}"
            | "/.well-known/jwks.json"
            | "/.well-known/oauth-protected-resource",
        ) => "",
        _ => return None,
    })
}

async fn ask(gateway: &Gateway, method: &str, route: &str, credential: Option<&str>) -> String {
    let body = body_of(method, route)
        .unwrap_or_else(|| panic!("{method} {route} has no row in the security matrix"));
    let path = route
        .replace("{database}", NAME)
        .replace("{method}", "secret")
        .replace("{hash}", &"0".repeat(64))
        .replace("{version}", &format!("0-0-{}", "0".repeat(32)));
    let query = if route.ends_with("/events") {
        "?channels=news"
    } else if route == "/query" && method == "GET" {
        "?sql=select+n+from+api.guarded"
    } else {
        ""
    };
    let url = format!("http://{}{path}{query}", gateway.address);
    let method = method.parse().expect("a method");
    let mut request = gateway.client.request(method, url);
    if !body.is_empty() {
        request = request
            .header("content-type", "application/json")
            .body(body);
    }
    if let Some(credential) = credential {
        request = request.header("authorization", credential);
    }
    if route.ends_with("/events") {
        // An open stream has no end, its head is the answer.
        let response = request.send().await.expect("an answer");
        if response.status().is_success() {
            return format!("{} stream", response.status().as_u16());
        }
        let status = response.status().as_u16();
        let body = response.text().await.expect("a body");
        return format!("{status} {}", crate::harness::code(&body));
    }
    let (status, code, _) = outcome(request).await;
    format!("{status} {code}")
}

#[tokio::test]
async fn every_route_answers_every_credential_as_committed() {
    for_each_version(async |db| {
        let right = db.create_role("right").await;
        let without = db.create_role("without").await;
        let outside = db.create_role_with("outside", "login", Admitted::No).await;
        let definitions = format!(
            "create function api.secret() returns int language sql stable as 'select 1'; \
             create function api.may_hear() returns boolean language sql stable \
             as 'select true'; \
             revoke execute on all functions in schema api from public; \
             grant execute on all functions in schema api to {0}; \
             create table api.guarded as select 1 as n; grant select on api.guarded to {0}; \
             select rolegate.channel('news', 'api.may_hear()'::regprocedure);",
            quote::ident(&right)
        );
        api(db, &[&right, &without, "rolegate_anonymous"], &definitions).await;
        let provider = IdentityProvider::start(&[Algorithm::ES256])
            .await
            .expect("it starts");
        let gateway = async |anonymous| {
            let target = PasswordTarget {
                host: "127.0.0.1".to_owned(),
                port: db.cluster().port,
                database: db.name().to_owned(),
                tls: None,
            };
            let check = PasswordCheck::new(target, LoginLimits::default(), Arc::new(SystemClock));
            let options = Options {
                anonymous,
                issuers: vec![fetched(&provider)],
                password: Some(check),
                ..Options::default()
            };
            Gateway::start_with(db, options).await
        };
        let (closed, open) = (gateway(false).await, gateway(true).await);
        let issue = |claims| format!("Bearer {}", provider.issue(Algorithm::ES256, claims));
        let now = SystemClock.now().as_second();
        let mut forged = claims(&right);
        forged["iss"] = provider.issuer().into();
        let stranger = SigningKey::generate(Algorithm::ES256).expect("a key");
        let known_kid = rolegate_testkit::identity_provider::Header {
            kid: Some(provider.key(Algorithm::ES256).kid().to_owned()),
            ..rolegate_testkit::identity_provider::Header::new(Algorithm::ES256)
        };
        let credentials: [(&str, &Gateway, Option<String>); 8] = [
            ("no token, anonymous off", &closed, None),
            ("no token, anonymous on", &open, None),
            ("malformed header", &open, Some("Bearer a b".to_owned())),
            (
                "wrong signature",
                &open,
                Some(format!("Bearer {}", stranger.sign_as(&known_kid, &forged))),
            ),
            (
                "expired",
                &open,
                Some(issue(claims_with(
                    &right,
                    &json!({"iat": now - 900, "exp": now - 60}),
                ))),
            ),
            ("role not admitted", &open, Some(issue(claims(&outside)))),
            ("role without EXECUTE", &open, Some(issue(claims(&without)))),
            ("right role", &open, Some(issue(claims(&right)))),
        ];
        let mut actual = String::new();
        for (method, route) in GATEWAY_ROUTES {
            line(&mut actual, format_args!("{method} {route}"));
            for (what, gateway, credential) in &credentials {
                let answer = ask(gateway, method, route, credential.as_deref()).await;
                line(&mut actual, format_args!("    {what:<24} {answer}"));
            }
        }
        assert_golden("routes.txt", include_str!("matrix/routes.txt"), &actual);
    })
    .await;
}

/// The roles of the second matrix, by what they are.
async fn roles(db: &TestDatabase, mode: Mode) -> [(&'static str, Option<String>); 5] {
    let (prefix, login, admitted) = match mode {
        Mode::Login => ("l", "login", Admitted::Login),
        Mode::Assume => ("a", "nologin", Admitted::Assume),
    };
    let role = async |base: &str, attributes: &str, admitted| {
        db.create_role_with(&format!("{prefix}_{base}"), attributes, admitted)
            .await
    };
    let group = role("group", "nologin", Admitted::No).await;
    let in_group = format!("{login} in role {}", quote::ident(&group));
    // On 15 such a role inherits nothing at all, not even its admission, so it can't have one.
    let noinherit = match db.cluster().major() {
        15 => Admitted::No,
        _ => admitted,
    };
    let roles = [
        ("granted", Some(role("granted", login, admitted).await)),
        ("other", Some(role("other", login, admitted).await)),
        ("anonymous", None),
        ("member", Some(role("member", &in_group, admitted).await)),
        (
            "NOINHERIT member",
            Some(role("noinherit", &format!("{in_group} noinherit"), noinherit).await),
        ),
    ];
    let to = format!(
        "{}, {}",
        quote::ident(roles[0].1.as_deref().expect("it has a role")),
        quote::ident(&group)
    );
    let definitions = format!(
        "grant usage on schema api to public; \
         create schema if not exists hidden; grant usage on schema hidden to public; \
         create or replace function api.granted() returns int language sql stable as 'select 1'; \
         create or replace function api.open() returns int language sql stable as 'select 1'; \
         create or replace function api.closed() returns int language sql stable as 'select 1'; \
         create or replace function api.definer() returns int language sql stable \
         security definer set search_path = pg_catalog as 'select 1'; \
         create or replace function hidden.inside() returns int language sql stable as 'select 1'; \
         revoke execute on function api.granted(), api.closed(), api.definer() from public; \
         grant execute on function api.granted(), api.definer() to {to}; \
         grant execute on function api.open(), hidden.inside() to public;"
    );
    api(db, &[], &definitions).await;
    roles
}

async fn actions(gateway: &Gateway, token: Option<&str>, function: &str) -> String {
    let mut outcomes = Vec::new();
    let path = format!("/{function}");
    let envelope = |method: &str| json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
    for request in [
        gateway.post(&path, token, ""),
        gateway.get(&path, token),
        gateway.post("", token, &envelope(function)),
    ] {
        let (status, code, _) = outcome(request).await;
        outcomes.push(format!("{status} {code}"));
    }
    let bare = function
        .trim_start_matches("api.")
        .trim_start_matches("hidden.");
    for request in [
        gateway.post("", token, &envelope("capabilities")),
        gateway.get("/openapi.json", token),
    ] {
        let (status, body) = text(request).await;
        let listed = body.contains(&format!("{bare}\"")) || body.contains(&format!("/{bare}"));
        outcomes.push(match (status.is_success(), listed) {
            (true, true) => "listed".to_owned(),
            (true, false) => "-".to_owned(),
            (false, false) => status.as_u16().to_string(),
            (false, true) => format!("{status} and listed"),
        });
    }
    let [post, get, rpc, capabilities, openapi] =
        <[String; 5]>::try_from(outcomes).expect("there are five actions");
    format!("{post:<24} {get:<24} {rpc:<24} {capabilities:<8} {openapi}")
}

#[tokio::test]
async fn every_role_gets_from_every_function_what_is_committed() {
    for_each_version(async |db| {
        let golden = match db.cluster().major() {
            15 => include_str!("matrix/roles_15.txt"),
            _ => include_str!("matrix/roles_18.txt"),
        };
        for mode in [Mode::Login, Mode::Assume] {
            let roles = roles(db, mode).await;
            let provider = IdentityProvider::start(&[Algorithm::ES256])
                .await
                .expect("it starts");
            let issuers = vec![fetched(&provider)];
            let options = Options {
                mode,
                issuers,
                ..Options::default()
            };
            let gateway = Gateway::start_with(db, options).await;
            let mut actual = format!(
                "{:<8} {:<24} {:<24} {:<24} {:<8} openapi.json\n",
                "", "POST", "GET", "JSON-RPC", "capabil."
            );
            for (what, role) in &roles {
                line(&mut actual, format_args!("{what}"));
                let token = role
                    .as_deref()
                    .map(|role| provider.issue(Algorithm::ES256, claims(role)));
                for function in ["granted", "open", "closed", "hidden.inside", "definer"] {
                    let outcomes = actions(&gateway, token.as_deref(), function).await;
                    let short = function.trim_start_matches("hidden.");
                    line(&mut actual, format_args!("{short:<8} {outcomes}"));
                }
            }
            assert_golden(
                &format!("roles on {}, {mode:?}", db.version()),
                golden,
                &actual,
            );
        }
    })
    .await;
}
