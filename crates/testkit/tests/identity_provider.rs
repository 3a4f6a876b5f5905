//! The stub identity provider signs what its published keys verify.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rolegate_testkit::{IdentityProvider, SigningKey};
use serde_json::{Value, json};

const PUBLISHED: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

async fn published(provider: &IdentityProvider) -> JwkSet {
    let text = reqwest::get(provider.jwks_url())
        .await
        .expect("it answers")
        .text()
        .await;
    serde_json::from_str(&text.expect("a body")).expect("a JWKS")
}

fn verify(keys: &JwkSet, token: &str) -> Option<Value> {
    let header = jsonwebtoken::decode_header(token).expect("a token");
    let key = DecodingKey::from_jwk(keys.find(&header.kid?)?).expect("a usable key");
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    jsonwebtoken::decode(token, &key, &validation)
        .ok()
        .map(|data| data.claims)
}

#[tokio::test]
async fn every_signature_verifies_with_the_published_key_and_no_other() {
    let provider = IdentityProvider::start(&PUBLISHED)
        .await
        .expect("it starts");
    let keys = published(&provider).await;
    assert_eq!(keys.keys.len(), PUBLISHED.len());
    for algorithm in PUBLISHED {
        let token = provider.issue(algorithm, json!({ "sub": "ann" }));
        let claims = verify(&keys, &token).expect("it verifies");
        assert_eq!(claims, json!({ "sub": "ann", "iss": provider.issuer() }));

        let foreign = SigningKey::generate(algorithm).expect("a key");
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        let forged = foreign.sign_as(&header, &json!({ "sub": "ann" }));
        assert_eq!(verify(&keys, &forged), None, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_shared_secret_signs_and_is_not_published() {
    let provider = IdentityProvider::start(&[Algorithm::HS256])
        .await
        .expect("it starts");
    assert!(published(&provider).await.keys.is_empty());
    let token = provider.sign(Algorithm::HS256, &json!({ "sub": "ann" }));
    let key = provider.key(Algorithm::HS256);
    let secret = DecodingKey::from_secret(key.secret().expect("a secret"));
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Value>(&token, &secret, &validation).expect("it verifies");
}

#[tokio::test]
async fn rotation_changes_the_keys_and_may_keep_the_old_ones() {
    let provider = IdentityProvider::start(&[Algorithm::ES256])
        .await
        .expect("it starts");
    let token = provider.sign(Algorithm::ES256, &json!({}));
    provider.rotate(true).expect("new keys");
    let newer = provider.sign(Algorithm::ES256, &json!({}));
    let keys = published(&provider).await;
    assert!(verify(&keys, &token).is_some() && verify(&keys, &newer).is_some());
    provider.rotate(false).expect("new keys");
    let keys = published(&provider).await;
    assert!(verify(&keys, &token).is_none() && verify(&keys, &newer).is_none());
    assert_eq!(provider.requests(), 2);
}

#[tokio::test]
async fn it_hangs_and_fails_on_command() {
    let provider = IdentityProvider::start(&[Algorithm::EdDSA])
        .await
        .expect("it starts");
    provider.answer_instead(Some((503, "later".to_owned())));
    let answer = reqwest::get(provider.jwks_url()).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 503);
    provider.answer_instead(None);

    provider.hang(true);
    let url = provider.jwks_url();
    let mut request = tokio::spawn(async move { reqwest::get(url).await });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut request).await;
    assert!(early.is_err(), "it answered");
    provider.hang(false);
    let answer = request.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
}
