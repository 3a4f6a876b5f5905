//! What a job has of the token of whoever enqueued it: the claims of then, and the token's rights of now.

use std::time::Duration;

use rolegate_pg::quote;
use rolegate_server::config::Mode;
use rolegate_testkit::identity_provider::{Algorithm, IdentityProvider};
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{enqueue, failure, ready, ready_with, seen};
use crate::harness::Options;
use crate::identity::{claims_with, fetched};

/// Whoever may mint tokens for `role`.
async fn operator(db: &TestDatabase, role: &str) -> Client {
    let attributes = format!(
        "login in role rolegate_operator, rolegate_admitted, {}",
        quote::ident(role)
    );
    let operator = db
        .create_role_with("operator", &attributes, Admitted::No)
        .await;
    db.list_in_peer_map(&[&operator]).await;
    db.connect_as(&operator).await
}

async fn mint(operator: &Client, role: &str, scopes: Option<Value>) -> (Uuid, String) {
    let sql = "select token_id, token from rolegate.mint_api_token($1, 'for a test', scopes => $2)";
    let row = operator.query_one(sql, &[&role, &scopes]).await;
    let row = row.expect("a token");
    (row.get(0), row.get(1))
}

/// Until [`resume`] jobs wait.
async fn pause(superuser: &Client) {
    let sql = "select rolegate.pause_queue('default')";
    superuser.execute(sql, &[]).await.expect("paused");
}

async fn resume(superuser: &Client) {
    let sql = "select rolegate.resume_queue('default')";
    superuser.execute(sql, &[]).await.expect("resumed");
}

/// A dead letter that says so.
async fn is_refused(superuser: &Client, id: i64, code: &str) {
    let (reason, error) = failure(superuser, id).await;
    assert_eq!(reason, "not_permitted", "{error}");
    assert_eq!(error["code"], code, "{error}");
}

/// What the function gave back.
async fn output(superuser: &Client, id: i64) -> Value {
    for _ in 0..500 {
        let sql = "select output from rolegate.job($1) where state = 'completed'";
        if let Some(row) = superuser.query_opt(sql, &[&id]).await.expect("read") {
            return row.get(0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("job {id} is not completed");
}

#[tokio::test]
async fn a_job_has_the_claims_of_its_request_without_those_of_the_token_alone() {
    for_each_version(async |db| {
        let provider = IdentityProvider::start(&[Algorithm::ES256]).await;
        let provider = provider.expect("it starts");
        for mode in [Mode::Login, Mode::Assume] {
            let db = TestDatabase::create(db.version()).await;
            let options = Options {
                mode,
                issuers: vec![fetched(&provider)],
                ..Options::default()
            };
            let (gateway, clerk, worker, superuser) = ready_with(&db, options).await;
            let own = json!({"org": "acme", "jti": "one of many", "azp": "a client", "nbf": 1,
                "email": "a@example.org", "sid": "this login", "nonce": "n", "name": "A"});
            let token = provider.issue(Algorithm::ES256, claims_with(&clerk, &own));
            // In the request all of them are there.
            let (status, body) = gateway.call(&token, "claimed", "").await;
            assert_eq!(status.as_u16(), 200, "{body}");
            let request: Value = serde_json::from_str(&body).expect("JSON");
            let gone = [
                "exp", "iat", "nbf", "jti", "aud", "azp", "email", "sid", "nonce", "name",
            ];
            for name in gone {
                assert!(request.get(name).is_some(), "{name} is not in {request}");
            }
            let id = enqueue(&gateway, &token, "api.claimed", json!({})).await;
            let mut expected = request;
            let members = expected.as_object_mut().expect("an object");
            members.retain(|name, _| !gone.contains(&name.as_str()));
            assert_eq!(members["org"], "acme");
            assert_eq!(members["role"], clerk);
            assert_eq!(output(&superuser, id).await, expected);
            // As its function reads one.
            enqueue(&gateway, &token, "api.note", json!({"n": 1})).await;
            assert_eq!(seen(&superuser, 1).await[0].2.as_deref(), Some("acme"));
            // Another login is the same principal.
            let again = json!({"org": "acme", "jti": "another", "azp": "a client", "nbf": 1,
                "email": "b@example.org", "sid": "another", "nonce": "o", "name": "B"});
            let again = provider.issue(Algorithm::ES256, claims_with(&clerk, &again));
            enqueue(&gateway, &again, "api.note", json!({"n": 2})).await;
            seen(&superuser, 2).await;
            let principals = "select count(*) from rolegate.job_principal where claims is not null";
            let row = superuser.query_one(principals, &[]).await.expect("read");
            assert_eq!(row.get::<_, i64>(0), 1);
            // Those that are named, and no others; also of what is copied.
            let named = "select rolegate.set_job_claims(array['org', 'email'])";
            superuser.execute(named, &[]).await.expect(named);
            let id = enqueue(&gateway, &token, "api.claimed", json!({})).await;
            assert_eq!(
                output(&superuser, id).await,
                json!({"org": "acme", "email": "a@example.org", "role": clerk})
            );
            assert!(worker.stop().await);
            drop(gateway);
            db.drop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_of_a_token_that_was_revoked_runs_nothing() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        let operator = operator(db, &clerk).await;
        let (revoked, token) = mint(&operator, &clerk, None).await;
        let (_, other) = mint(&operator, &clerk, None).await;
        // The worker has seen both before.
        for token in [&token, &other] {
            enqueue(&gateway, token, "api.note", json!({"n": 1})).await;
        }
        seen(&superuser, 2).await;
        pause(&superuser).await;
        let dead = enqueue(&gateway, &token, "api.note", json!({"n": 2})).await;
        enqueue(&gateway, &other, "api.note", json!({"n": 3})).await;
        let sql = "select rolegate.revoke_api_token($1)";
        operator.query_one(sql, &[&revoked]).await.expect("revoked");
        resume(&superuser).await;
        is_refused(&superuser, dead, "token_revoked").await;
        let numbers: Vec<String> = seen(&superuser, 3)
            .await
            .into_iter()
            .map(|row| row.3)
            .collect();
        assert_eq!(numbers, ["1", "1", "3"]);
        assert!(worker.stop().await);
    })
    .await;
}

#[tokio::test]
async fn the_scopes_of_a_job_are_those_that_its_token_has_now() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        let operator = operator(db, &clerk).await;
        let all = json!({"functions": ["api.*"]});
        let little = json!({"functions": ["api.later"]});
        let (narrowed, first) = mint(&operator, &clerk, Some(all.clone())).await;
        let (widened, second) = mint(&operator, &clerk, Some(little.clone())).await;
        enqueue(&gateway, &first, "api.note", json!({"n": 1})).await;
        seen(&superuser, 1).await;
        let dead = enqueue(&gateway, &second, "api.note", json!({"n": 2})).await;
        is_refused(&superuser, dead, "scope_denied").await;
        pause(&superuser).await;
        let dead = enqueue(&gateway, &first, "api.note", json!({"n": 3})).await;
        enqueue(&gateway, &second, "api.note", json!({"n": 4})).await;
        for (id, scopes) in [(narrowed, little), (widened, all)] {
            let sql = "update rolegate.api_token set scopes = $2 where token_id = $1";
            let changed = superuser.execute(sql, &[&id, &scopes]).await;
            assert_eq!(changed.expect("changed"), 1);
        }
        resume(&superuser).await;
        is_refused(&superuser, dead, "scope_denied").await;
        let numbers: Vec<String> = seen(&superuser, 2)
            .await
            .into_iter()
            .map(|row| row.3)
            .collect();
        assert_eq!(numbers, ["1", "4"]);
        assert!(worker.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_job_of_a_role_that_was_dismissed_runs_nothing() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        let token = gateway.token(&clerk).await;
        pause(&superuser).await;
        let id = enqueue(&gateway, &token, "api.note", json!({"n": 1})).await;
        let dismiss = format!("revoke rolegate_admitted from {clerk}");
        superuser.batch_execute(&dismiss).await.expect("dismissed");
        // Every process knows by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        resume(&superuser).await;
        is_refused(&superuser, id, "role_not_admitted").await;
        assert!(seen(&superuser, 0).await.is_empty());
        assert!(worker.stop().await);
    })
    .await;
}
