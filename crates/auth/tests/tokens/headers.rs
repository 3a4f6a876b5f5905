//! What a token's header may and may not do.

use aws_lc_rs::rsa::KeySize;
use rolegate_auth::jwt::{JwtError, MAX_TOKEN_BYTES, Verifier, VerifierError, VerifierOptions};
use rolegate_model::{Clock, ErrorCode};
use serde_json::{Value, json};

use crate::minter::{Bench, Key, base64url, claims, fixed_clock, issuer, secret, secret_issuer};

const INVALID: Option<ErrorCode> = Some(ErrorCode::TokenInvalid);

fn good() -> Value {
    claims(&json!({}))
}

#[tokio::test]
async fn every_kind_of_key_verifies_its_own_algorithms() {
    let rsa = Key::rsa(KeySize::Rsa2048);
    for key in [
        Key::Rs256(rsa.clone()),
        Key::Ps256(rsa),
        Key::es256(),
        Key::es384(),
        Key::ed(),
    ] {
        let bench = Bench::new(&[issuer(&json!({"public_key": key.pem()}), &json!({}))]);
        assert_eq!(
            bench.code(&key.sign(&good())).await,
            None,
            "{}",
            key.algorithm()
        );
    }
    let bench = Bench::new(&[secret_issuer(&json!({}))]);
    for key in [
        Key::Hs256(secret()),
        Key::Hs384(secret()),
        Key::Hs512(secret()),
    ] {
        assert_eq!(
            bench.code(&key.sign(&good())).await,
            None,
            "{}",
            key.algorithm()
        );
    }
}

#[tokio::test]
async fn algorithm_none_is_refused_however_it_is_written() {
    let key = Key::es256();
    for config in [
        secret_issuer(&json!({})),
        issuer(&json!({"public_key": key.pem()}), &json!({})),
    ] {
        let bench = Bench::new(&[config]);
        for algorithm in ["none", "None", "NONE", "nOnE", ""] {
            let header = base64url(json!({"alg": algorithm, "typ": "JWT"}).to_string());
            let payload = base64url(good().to_string());
            for signature in ["", "AAAA", &base64url([0; 64])] {
                let token = format!("{header}.{payload}.{signature}");
                assert_eq!(bench.code(&token).await, INVALID, "{algorithm} {signature}");
            }
        }
    }
}

#[tokio::test]
async fn a_public_key_is_never_a_shared_secret() {
    let keys = [
        Key::Rs256(Key::rsa(KeySize::Rsa2048)),
        Key::es256(),
        Key::ed(),
    ];
    for key in &keys {
        let pem = key.pem();
        let bench = Bench::new(&[issuer(&json!({"public_key": pem}), &json!({}))]);
        for secret in [pem.as_bytes().to_vec(), pem.trim_end().as_bytes().to_vec()] {
            for forged in [
                Key::Hs256(secret.clone()),
                Key::Hs384(secret.clone()),
                Key::Hs512(secret.clone()),
            ] {
                let outcome = bench.verify(&forged.sign(&good())).await;
                assert!(matches!(outcome, Err(JwtError::Algorithm)), "{outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_header_does_not_choose_another_algorithm_of_the_library() {
    let rsa = Key::rsa(KeySize::Rsa2048);
    let bench = Bench::new(&[issuer(
        &json!({"public_key": Key::es256().pem()}),
        &json!({}),
    )]);
    for key in [
        Key::Rs256(rsa),
        Key::es384(),
        Key::ed(),
        Key::Hs256(secret()),
    ] {
        let outcome = bench.verify(&key.sign(&good())).await;
        assert!(matches!(outcome, Err(JwtError::Algorithm)), "{outcome:?}");
    }
    let outcome = bench.verify(&Key::es256().sign(&good())).await;
    assert!(matches!(outcome, Err(JwtError::Signature)), "{outcome:?}");
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let key = Key::es256();
    let bench = Bench::new(&[issuer(&json!({"public_key": key.pem()}), &json!({}))]);
    let token = key.sign(&good());
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let (header, _) = signed.split_once('.').expect("claims");
    let other = base64url(claims(&json!({"role": "bob"})).to_string());
    assert_eq!(
        bench.code(&format!("{header}.{other}.{signature}")).await,
        INVALID
    );
    let last = if signature.ends_with('A') { 'Q' } else { 'A' };
    let cut = &signature[..signature.len() - 1];
    for signature in [
        "",
        cut,
        &format!("{cut}{last}"),
        &format!("{signature}AAAA"),
    ] {
        assert_eq!(
            bench.code(&format!("{signed}.{signature}")).await,
            INVALID,
            "{signature}"
        );
    }
    assert_eq!(bench.code(&token).await, None);
}

#[tokio::test]
async fn keys_in_the_header_are_not_looked_at() {
    let (ours, attacker) = (Key::es256(), Key::es256());
    let bench = Bench::new(&[issuer(&json!({"public_key": ours.pem()}), &json!({}))]);
    for (name, value) in [
        ("jwk", attacker.jwk("a")),
        ("jku", json!("http://127.0.0.1:1/jwks")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", json!(["AAAA"])),
    ] {
        let mut header = json!({"alg": "ES256", "typ": "JWT"});
        header[name] = value;
        let forged = attacker.sign_text(&header, &good().to_string());
        assert_eq!(bench.code(&forged).await, INVALID, "{name}");
        let genuine = ours.sign_text(&header, &good().to_string());
        assert_eq!(bench.code(&genuine).await, None, "{name} means nothing");
    }
}

#[tokio::test]
async fn critical_extensions_and_other_types_are_refused() {
    let key = Key::Hs256(secret());
    let bench = Bench::new(&[secret_issuer(&json!({}))]);
    let sign = |extra: Value| {
        let mut header = json!({"alg": "HS256"});
        for (name, value) in extra.as_object().expect("an object") {
            header[name] = value.clone();
        }
        key.sign_text(&header, &good().to_string())
    };
    for extra in [
        json!({}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "application/AT+JWT"}),
    ] {
        assert_eq!(bench.code(&sign(extra.clone())).await, None, "{extra}");
    }
    for extra in [
        json!({"crit": ["b64"], "b64": false}),
        json!({"crit": []}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "dpop+jwt"}),
        json!({"typ": 1}),
        json!({"kid": 1}),
        json!({"kid": "k".repeat(300)}),
    ] {
        assert_eq!(bench.code(&sign(extra.clone())).await, INVALID, "{extra}");
    }
}

#[tokio::test]
async fn repeated_members_are_refused() {
    let key = Key::Hs256(secret());
    let bench = Bench::new(&[secret_issuer(&json!({}))]);
    let text = good().to_string();
    let twice = text.replacen('{', r#"{"role":"bob","#, 1);
    let header = json!({"alg": "HS256"});
    assert_eq!(bench.code(&key.sign_text(&header, &text)).await, None);
    assert_eq!(bench.code(&key.sign_text(&header, &twice)).await, INVALID);
}

#[tokio::test]
async fn absurd_tokens_are_refused() {
    let key = Key::Hs256(secret());
    let bench = Bench::new(&[secret_issuer(&json!({}))]);
    let large = |bytes| key.sign(&claims(&json!({"padding": "x".repeat(bytes)})));
    assert_eq!(bench.code(&large(11_000)).await, None);
    let outcome = bench.verify(&large(MAX_TOKEN_BYTES)).await;
    assert!(matches!(outcome, Err(JwtError::TooLong)), "{outcome:?}");
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "e30.e30.e30.e30",
        "e30.W10.AAAA",
        "é.e30.AAAA",
    ] {
        assert_eq!(bench.code(token).await, INVALID, "{token}");
    }
}

#[test]
fn weak_and_unsuitable_keys_are_refused_at_start() {
    let refused = |keys: Value| {
        let clock: std::sync::Arc<dyn Clock> = fixed_clock();
        let config = issuer(&keys, &json!({}));
        match Verifier::new(&[config], None, VerifierOptions::default(), &clock) {
            Err(VerifierError::Key { .. } | VerifierError::Url { .. }) => {}
            other => panic!("{keys}: {other:?}"),
        }
    };
    refused(json!({"shared_secret": "s".repeat(31)}));
    refused(json!({"shared_secret": ""}));
    refused(json!({"jwks_url": "http://idp.example/jwks"}));
    let pem = Key::es256().pem();
    for text in [
        String::new(),
        "not PEM".to_owned(),
        pem.replace("PUBLIC KEY", "PRIVATE KEY"),
        pem.replace("PUBLIC KEY", "CERTIFICATE"),
        pem.replace('A', "B"),
    ] {
        refused(json!({"public_key": text}));
    }
}

#[tokio::test]
async fn a_short_secret_is_good_for_short_hashes_only() {
    let short = vec![b's'; 32];
    let text = String::from_utf8(short.clone()).expect("text");
    let bench = Bench::new(&[issuer(&json!({"shared_secret": text}), &json!({}))]);
    assert_eq!(
        bench.code(&Key::Hs256(short.clone()).sign(&good())).await,
        None
    );
    assert_eq!(
        bench.code(&Key::Hs384(short.clone()).sign(&good())).await,
        INVALID
    );
    assert_eq!(bench.code(&Key::Hs512(short).sign(&good())).await, INVALID);
}
