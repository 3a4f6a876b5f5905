//! Keys that change while requests run: nobody may meet one that he cannot know yet.

use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::harness::{Gateway, api, text};

/// Ours, and the claims as SQL sees them.
const FUNCTIONS: &str = "create function api.verified() returns boolean language sql stable as \
    $$select rolegate.claims() is not null$$; \
    create function api.slow() returns boolean language sql volatile as \
    $$select rolegate.claims() is not null from pg_catalog.pg_sleep(0.05)$$;";

async fn start(db: &TestDatabase) -> (Gateway, Gateway, String) {
    let ann = db.create_role_with("ann", "login", Admitted::Login).await;
    api(db, &[&ann], FUNCTIONS).await;
    let (one, other) = tokio::join!(Gateway::start(db), Gateway::start(db));
    (one, other, ann)
}

async fn published(gateway: &Gateway) -> Vec<String> {
    let url = format!("http://{}/.well-known/jwks.json", gateway.address);
    let (status, body) = text(gateway.client.get(url)).await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let keys = body["keys"].as_array().expect("a list");
    keys.iter()
        .map(|key| key["kid"].as_str().expect("a name").to_owned())
        .collect()
}

fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().expect("a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a name").to_owned()
}

async fn within_seconds<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_signing_key_is_published_by_every_gateway_before_one_signs_with_it() {
    for_each_version(async |db| {
        let (one, other, ann) = start(db).await;
        let superuser = db.superuser().await;
        let first = published(&one).await;
        assert_eq!(first.len(), 1, "gateways that start together have one key");
        within_seconds("the other gateway has the same key", async || {
            (published(&other).await == first).then_some(())
        })
        .await;
        let old_token = one.token(&ann).await;
        assert_eq!(kid(&old_token), first[0]);

        superuser
            .execute("select rolegate.rotate_signing_key()", &[])
            .await
            .expect("rotates");
        for gateway in [&one, &other] {
            let keys = within_seconds("a successor is published", async || {
                let keys = published(gateway).await;
                (keys.len() > 1).then_some(keys)
            })
            .await;
            assert_eq!(keys.len(), 2, "one successor, whoever made it: {keys:?}");
            assert_eq!(kid(&gateway.token(&ann).await), first[0], "too early");
        }
        let keys = published(&one).await;
        assert_eq!(keys, published(&other).await);
        let second = keys.iter().find(|kid| **kid != first[0]).expect("two");

        // Ten minutes later.
        superuser
            .execute(
                "update rolegate.signing_key set activated_at = activated_at - interval '11 minutes', \
                 retired_at = retired_at - interval '11 minutes'",
                &[],
            )
            .await
            .expect("the clock is moved");
        for gateway in [&one, &other] {
            within_seconds("the successor signs", async || {
                (kid(&gateway.token(&ann).await) == *second).then_some(())
            })
            .await;
            assert_eq!(published(gateway).await.len(), 2, "the old one verifies");
            let (status, body) = gateway.call(&old_token, "verified", "").await;
            assert_eq!((status.as_u16(), body.as_str()), (200, "true"));
        }
    })
    .await;
}

#[tokio::test]
async fn an_old_signing_key_gets_a_successor_by_itself() {
    for_each_version(async |db| {
        let one = Gateway::start(db).await;
        let first = published(&one).await;
        db.superuser()
            .await
            .execute(
                "update rolegate.signing_key set activated_at = activated_at - interval '31 days'",
                &[],
            )
            .await
            .expect("the clock is moved");
        // Gateways ask when they start, and every half minute.
        let other = Gateway::start(db).await;
        for gateway in [&one, &other] {
            let keys = within_seconds("a successor is published", async || {
                let keys = published(gateway).await;
                (keys.len() > 1).then_some(keys)
            })
            .await;
            assert_eq!(keys.len(), 2, "{keys:?}");
            assert!(keys.contains(&first[0]), "the old one still signs");
        }
    })
    .await;
}

#[tokio::test]
async fn revoked_signing_keys_are_refused_and_every_login_succeeds() {
    for_each_version(async |db| {
        let (one, other, ann) = start(db).await;
        let superuser = db.superuser().await;
        let stolen = one.token(&ann).await;
        let logins = async |gateway: &Gateway| {
            for _ in 0..200 {
                // Fails if no token is signed.
                gateway.token(&ann).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let revoke = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(40)).await;
                superuser
                    .execute("select rolegate.revoke_signing_keys()", &[])
                    .await
                    .expect("revokes");
            }
        };
        tokio::join!(logins(&one), logins(&other), revoke);
        for gateway in [&one, &other] {
            within_seconds("the stolen key's token is refused", async || {
                let (status, _) = gateway.call(&stolen, "verified", "").await;
                (status == 401).then_some(())
            })
            .await;
            within_seconds("a new token is good", async || {
                let token = gateway.token(&ann).await;
                let (status, _) = gateway.call(&token, "verified", "").await;
                (status == 200).then_some(())
            })
            .await;
        }
        assert_eq!(published(&one).await, published(&other).await);
    })
    .await;
}

/// Requests that were signed with the key before, while the gateways have not heard of the new one.
#[tokio::test]
async fn calls_go_on_while_the_key_of_the_claims_is_rotated() {
    for_each_version(async |db| {
        let (one, other, ann) = start(db).await;
        let superuser = db.superuser().await;
        let token = within_seconds("the other gateway knows the key", async || {
            let token = one.token(&ann).await;
            let (status, _) = other.call(&token, "verified", "").await;
            (status == 200).then_some(token)
        })
        .await;
        for _ in 0..3 {
            let calls = async |gateway: &Gateway| {
                for _ in 0..10 {
                    for function in ["slow", "verified"] {
                        let (status, body) = gateway.call(&token, function, "").await;
                        assert_eq!((status.as_u16(), body.as_str()), (200, "true"));
                    }
                }
            };
            let rotate = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                superuser
                    .execute("select rolegate.rotate_claim_key()", &[])
                    .await
                    .expect("rotates");
            };
            tokio::join!(calls(&one), calls(&other), rotate);
        }
    })
    .await;
}
