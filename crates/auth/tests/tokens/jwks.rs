//! Keys from a URL: bounds, rotation, and what happens when it does not answer.

use std::sync::Arc;
use std::time::Duration;

use rolegate_auth::jwks::FetchLimits;
use rolegate_auth::jwt::VerifierOptions;
use rolegate_model::ErrorCode;
use serde_json::{Value, json};

use crate::minter::{Bench, Key, NOW, claims, issuer};
use crate::stub::{Answer, Stub};

const INVALID: Option<ErrorCode> = Some(ErrorCode::TokenInvalid);
const UNAVAILABLE: Option<ErrorCode> = Some(ErrorCode::IssuerUnavailable);

fn bench(stub: &Stub) -> Bench {
    bench_with(stub, FetchLimits::default())
}

fn bench_with(stub: &Stub, fetch: FetchLimits) -> Bench {
    let options = VerifierOptions {
        fetch,
        ..VerifierOptions::default()
    };
    Bench::with(
        &[issuer(&json!({ "jwks_url": stub.url }), &json!({}))],
        options,
    )
}

/// Claims that outlive the test.
fn long() -> Value {
    claims(&json!({"exp": NOW + 100_000}))
}

#[tokio::test]
async fn keys_are_fetched_once_and_chosen_by_name() {
    let (a, b) = (Key::es256(), Key::ed());
    let stub = Stub::new(Answer::Keys(vec![a.jwk("a"), b.jwk("b")])).await;
    let bench = bench(&stub);
    assert_eq!(bench.code(&a.sign_as("a", &long())).await, None);
    assert_eq!(bench.code(&b.sign_as("b", &long())).await, None);
    assert_eq!(
        bench.code(&a.sign_as("b", &long())).await,
        INVALID,
        "another key's name"
    );
    assert_eq!(
        bench.code(&a.sign(&long())).await,
        INVALID,
        "several keys and no name"
    );
    assert_eq!(stub.hits(), 1);
}

#[tokio::test]
async fn with_one_key_no_name_is_needed() {
    let key = Key::es256();
    let stub = Stub::new(Answer::Keys(vec![key.jwk("a")])).await;
    assert_eq!(bench(&stub).code(&key.sign(&long())).await, None);
}

#[tokio::test]
async fn an_unknown_name_asks_again_at_most_every_30_seconds() {
    let (old, new) = (Key::es256(), Key::es256());
    let stub = Stub::new(Answer::Keys(vec![old.jwk("old")])).await;
    let bench = bench(&stub);
    assert_eq!(bench.code(&old.sign_as("old", &long())).await, None);
    stub.answer(Answer::Keys(vec![old.jwk("old"), new.jwk("new")]));
    for _ in 0..20 {
        assert_eq!(bench.code(&new.sign_as("new", &long())).await, INVALID);
    }
    bench.clock.advance(29);
    assert_eq!(bench.code(&new.sign_as("new", &long())).await, INVALID);
    assert_eq!(stub.hits(), 1);
    bench.clock.advance(1);
    assert_eq!(bench.code(&new.sign_as("new", &long())).await, None);
    assert_eq!(stub.hits(), 2);
}

#[tokio::test]
async fn many_at_once_cause_one_fetch() {
    let key = Key::es256();
    let stub = Stub::new(Answer::Keys(vec![key.jwk("a")])).await;
    let bench = Arc::new(bench(&stub));
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let token = key.sign_as("a", &claims(&json!({"jti": n.to_string()})));
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.code(&token).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("ran"), None);
    }
    assert_eq!(stub.hits(), 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_does_not_take_the_fetch_along() {
    let key = Key::es256();
    let stub = Stub::new(Answer::Keys(vec![key.jwk("a")])).await;
    let bench = bench(&stub);
    let token = key.sign_as("a", &long());
    {
        let mut verify = Box::pin(bench.verify(&token));
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(std::future::Future::poll(verify.as_mut(), &mut context).is_pending());
    }
    stub.hit().await;
    assert_eq!(bench.code(&token).await, None);
    assert_eq!(stub.hits(), 1);
}

#[tokio::test]
async fn a_key_that_was_rotated_out_stops_working_also_for_remembered_tokens() {
    let (old, new) = (Key::es256(), Key::es256());
    let stub = Stub::new(Answer::Keys(vec![old.jwk("old")])).await;
    let bench = bench(&stub);
    let token = old.sign_as("old", &long());
    assert_eq!(bench.code(&token).await, None);
    assert_eq!(bench.verifier.cached(), 1);
    stub.answer(Answer::Keys(vec![new.jwk("new")]));
    bench.clock.advance(30);
    assert_eq!(bench.code(&new.sign_as("new", &long())).await, None);
    assert_eq!(bench.code(&token).await, INVALID);
}

#[tokio::test]
async fn old_keys_are_renewed_beside_the_requests() {
    let (old, new) = (Key::es256(), Key::es256());
    let stub = Stub::new(Answer::Keys(vec![old.jwk("old")])).await;
    let bench = bench(&stub);
    let token = old.sign_as("old", &long());
    assert_eq!(bench.code(&token).await, None);
    stub.hit().await;
    stub.answer(Answer::Keys(vec![new.jwk("new")]));
    bench.clock.advance(299);
    assert_eq!(bench.code(&token).await, None);
    assert_eq!(stub.hits(), 1);
    bench.clock.advance(1);
    assert_eq!(
        bench.code(&token).await,
        None,
        "nobody waits for the renewal"
    );
    stub.hit().await;
    bench.verifier.shut_down().await;
    assert_eq!(stub.hits(), 2);
    assert_eq!(bench.code(&token).await, INVALID, "the renewal counts");
}

#[tokio::test]
async fn the_last_good_keys_are_used_for_an_hour() {
    let key = Key::es256();
    let stub = Stub::new(Answer::Keys(vec![key.jwk("a")])).await;
    let bench = bench(&stub);
    let token = key.sign_as("a", &long());
    assert_eq!(bench.code(&token).await, None);
    stub.answer(Answer::Status(500));
    bench.clock.advance(3599);
    assert_eq!(bench.code(&token).await, None);
    stub.hit().await;
    bench.verifier.shut_down().await;
    assert_eq!(
        bench.code(&token).await,
        None,
        "a failed renewal changes nothing"
    );
    bench.clock.advance(31);
    assert_eq!(
        bench.code(&token).await,
        UNAVAILABLE,
        "remembered tokens neither"
    );
    stub.answer(Answer::Keys(vec![key.jwk("a")]));
    bench.clock.advance(5);
    assert_eq!(bench.code(&token).await, None);
}

#[tokio::test]
async fn answers_that_are_not_keys_are_no_keys() {
    let key = Key::es256();
    let large = json!({"keys": [key.jwk("a")], "padding": "x".repeat(64 * 1024)}).to_string();
    let target = Stub::new(Answer::Keys(vec![key.jwk("a")])).await;
    for answer in [
        Answer::Body(large),
        Answer::Endless,
        Answer::Redirect(target.url.clone()),
        Answer::Status(404),
        Answer::Status(203),
        Answer::Body("not JSON".to_owned()),
        Answer::Body("{}".to_owned()),
        Answer::Keys(vec![]),
        Answer::Keys(vec![json!({"kty": "oct", "kid": "a", "k": "AAAA"})]),
    ] {
        let stub = Stub::new(answer.clone()).await;
        let bench = bench(&stub);
        assert_eq!(
            bench.code(&key.sign_as("a", &long())).await,
            UNAVAILABLE,
            "{answer:?}"
        );
        assert_eq!(stub.hits(), 1);
        // The next one does not ask again at once.
        assert_eq!(
            bench.code(&key.sign_as("a", &long())).await,
            UNAVAILABLE,
            "{answer:?}"
        );
        assert_eq!(stub.hits(), 1);
    }
    assert_eq!(target.hits(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_silent_endpoint_is_given_up() {
    let key = Key::es256();
    let stub = Stub::new(Answer::Hang).await;
    let limits = FetchLimits {
        total: Duration::from_millis(100),
        ..FetchLimits::default()
    };
    let bench = bench_with(&stub, limits);
    assert_eq!(bench.code(&key.sign_as("a", &long())).await, UNAVAILABLE);
}

#[tokio::test]
async fn nothing_is_fetched_for_tokens_of_other_issuers() {
    let key = Key::es256();
    let stub = Stub::new(Answer::Keys(vec![key.jwk("a")])).await;
    let bench = bench(&stub);
    let foreign = key.sign_as("a", &claims(&json!({"iss": "https://evil.example"})));
    assert_eq!(
        bench.code(&foreign).await,
        Some(ErrorCode::TokenIssuerUnknown)
    );
    assert_eq!(stub.hits(), 0);
}
