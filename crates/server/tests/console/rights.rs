//! Who may administer tokens: the database's memberships, narrowed by the credential's scopes.

use reqwest::Method;
use rolegate_server::config::Mode;
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::{Value, json};

use crate::harness::{Options, outcome};
use crate::setup::{Console, People};

async fn started(db: &TestDatabase, mode: Mode) -> (Console, People) {
    let people = People::make(db, mode).await;
    let options = Options {
        mode,
        ..Options::default()
    };
    (Console::start_with(db, options).await, people)
}

#[tokio::test]
async fn memberships_decide() {
    for_each_version(async |db| {
        for mode in [Mode::Login, Mode::Assume] {
            let (console, people) = started(db, mode).await;
            let operator = console.gateway.token(&people.operator).await;
            let wanted = json!({"role": people.target});
            let minted = console.minted(&operator, &wanted).await;
            let id = minted["token_id"].as_str().expect("an id");
            let denied = (403, "permission_denied");
            let (mint_ok, list_ok, revoke_ok) = ((201, "ok"), (200, "ok"), (204, "no JSON"));
            for (who, role, mint, list, revoke) in [
                ("viewer", Some(&people.viewer), denied, list_ok, denied),
                ("ordinary", Some(&people.ordinary), denied, denied, denied),
                ("target", Some(&people.target), denied, denied, denied),
                (
                    "anonymous",
                    None,
                    (401, "credential_missing"),
                    (401, "credential_missing"),
                    (401, "credential_missing"),
                ),
                // Last, because these revoke.
                (
                    "stranger",
                    Some(&people.stranger),
                    denied,
                    list_ok,
                    revoke_ok,
                ),
                (
                    "operator",
                    Some(&people.operator),
                    mint_ok,
                    list_ok,
                    revoke_ok,
                ),
            ] {
                let token = match role {
                    Some(role) => Some(console.gateway.token(role).await),
                    None => None,
                };
                let token = token.as_deref();
                for (what, request, expected) in [
                    ("mint", console.mint(token, &wanted), mint),
                    ("list", console.list(token, ""), list),
                    ("revoke", console.revoke(token, id), revoke),
                ] {
                    let (status, code, body) = outcome(request).await;
                    assert_eq!(
                        (status, code.as_str()),
                        expected,
                        "{mode:?}: {who} {what}: {body}"
                    );
                    // What the database says about roles stays inside.
                    assert!(!body.contains("is not a member"), "{body}");
                }
            }
            let valid = console
                .page(&operator, &format!("?revoked=false&role={}", people.target))
                .await;
            let count = valid["tokens"].as_array().map(Vec::len);
            assert_eq!(count, Some(1), "only the operator minted: {valid}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_be_no_target_gets_no_token() {
    for_each_version(async |db| {
        let (console, people) = started(db, Mode::Login).await;
        let mighty = db
            .create_role_with("mighty", "login in role pg_read_all_data", Admitted::No)
            .await;
        let outside = db.create_role_with("outside", "login", Admitted::No).await;
        let grant = format!(
            "grant \"{mighty}\", \"{outside}\" to \"{operator}\"",
            operator = people.stranger
        );
        db.superuser()
            .await
            .batch_execute(&grant)
            .await
            .expect("granted");
        let operator = console.gateway.token(&people.operator).await;
        for (role, expected, path) in [
            (
                "nobody_has_this_name",
                (400, "invalid_params"),
                json!("role"),
            ),
            (&*people.stranger, (403, "permission_denied"), Value::Null),
            (&*mighty, (403, "permission_denied"), Value::Null),
            ("rolegate_owner", (403, "permission_denied"), Value::Null),
            ("rolegate_gateway", (403, "permission_denied"), Value::Null),
            ("postgres", (403, "permission_denied"), Value::Null),
        ] {
            let (status, code, body) =
                outcome(console.mint(Some(&operator), &json!({"role": role}))).await;
            assert_eq!((status, code.as_str()), expected, "{role}: {body}");
            let body: Value = serde_json::from_str(&body).expect("a problem");
            assert_eq!(body["path"], path, "{role}: {body}");
            assert!(body["hint"].is_string(), "{role}: {body}");
        }
        let listed = console.page(&operator, "").await;
        assert_eq!(listed["tokens"], json!([]), "none of them left anything");
    })
    .await;
}

#[tokio::test]
async fn membership_of_a_role_that_is_not_admitted_is_not_enough() {
    for_each_version(async |db| {
        let (console, people) = started(db, Mode::Login).await;
        let outside = db.create_role_with("outside", "login", Admitted::No).await;
        let grant = format!("grant \"{outside}\" to \"{}\"", people.operator);
        let superuser = db.superuser().await;
        superuser.batch_execute(&grant).await.expect("granted");
        let operator = console.gateway.token(&people.operator).await;
        let request = console.mint(Some(&operator), &json!({"role": outside}));
        let (status, code, body) = outcome(request).await;
        assert_eq!((status, code.as_str()), (400, "invalid_params"), "{body}");
        assert!(body.contains("rolegate roles admit"), "{body}");
    })
    .await;
}

#[tokio::test]
async fn scopes_narrow_an_operator() {
    for_each_version(async |db| {
        let (console, people) = started(db, Mode::Login).await;
        let operator = console.gateway.token(&people.operator).await;
        let wanted = json!({"role": people.target});
        let minted = console.minted(&operator, &wanted).await;
        let id = minted["token_id"].as_str().expect("an id");
        let (yes, no) = ((200, "ok"), (403, "scope_denied"));
        for (scopes, mint, list, revoke) in [
            (Value::Null, (201, "ok"), yes, (204, "no JSON")),
            (json!({"surfaces": ["calls"]}), no, no, no),
            (json!({"surfaces": []}), no, no, no),
            (json!({"functions": ["api.*"]}), no, no, no),
            (
                json!({"surfaces": ["admin"], "functions": ["rolegate.list_api_tokens"]}),
                no,
                yes,
                no,
            ),
            // It could mint itself one without scopes.
            (json!({"surfaces": ["admin"]}), no, yes, (204, "no JSON")),
        ] {
            let own = json!({"role": people.operator, "scopes": scopes});
            let own = console.minted(&operator, &own).await;
            assert_eq!(own["scopes"], scopes);
            let token = own["token"].as_str();
            for (what, request, expected) in [
                ("mint", console.mint(token, &wanted), mint),
                ("list", console.list(token, ""), list),
                ("revoke", console.revoke(token, id), revoke),
            ] {
                let (status, code, body) = outcome(request).await;
                assert_eq!((status, code.as_str()), expected, "{scopes} {what}: {body}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_says_that_there_is_none() {
    for_each_version(async |db| {
        let (console, people) = started(db, Mode::Login).await;
        let operator = console.gateway.token(&people.operator).await;
        let request = console
            .mint(Some(&operator), &json!({"role": people.target}))
            .header("prefer", "tx=rollback");
        let (status, code, body) = outcome(request).await;
        assert_eq!((status, code.as_str()), (403, "dry_run_disabled"), "{body}");
        let request = console.request(Method::GET, "/v1/{database}/tokens", Some(&operator));
        let (_, _, body) = outcome(request).await;
        assert!(body.contains(r#""tokens" : []"#), "{body}");
    })
    .await;
}
