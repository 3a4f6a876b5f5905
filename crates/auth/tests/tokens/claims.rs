//! What a token's claims have to say.

use rolegate_auth::jwt::{JwtError, Verifier, VerifierError, VerifierOptions};
use rolegate_auth::{IssuerConfig, Origin};
use rolegate_model::{Clock, ErrorCode};
use serde_json::{Value, json};

use crate::minter::{Bench, ISSUER, Key, NOW, at, claims, fixed_clock, secret, secret_issuer};

async fn code(config: &Value, changes: &Value) -> Option<ErrorCode> {
    let token = Key::Hs256(secret()).sign(&claims(changes));
    Bench::new(&[secret_issuer(config)]).code(&token).await
}

#[tokio::test]
async fn a_good_token_says_who_it_is() {
    let bench = Bench::new(&[secret_issuer(&json!({}))]);
    let bearer = Key::Hs256(secret()).sign(&claims(&json!({"org": 7})));
    let token = bench.verify(&bearer).await.expect("good");
    assert_eq!(token.role.as_str(), "alice");
    assert_eq!(token.issuer.as_ref(), ISSUER);
    assert_eq!(token.subject.as_deref(), Some("42"));
    assert_eq!(token.token_id.as_ref(), "t1");
    assert_eq!(token.issued_at, Some(at(NOW - 10)));
    assert_eq!(token.expires_at, Some(at(NOW + 600)));
    assert_eq!(token.origin, Origin::External);
    let without_id = Key::Hs256(secret()).sign(&claims(&json!({"jti": null})));
    let token = bench.verify(&without_id).await.expect("good");
    assert!(token.token_id.starts_with("sha256:"), "{}", token.token_id);
    assert!(!without_id.contains(token.token_id.as_ref()));
}

#[tokio::test]
async fn times_with_their_leeway() {
    use ErrorCode::{TokenExpired, TokenInvalid, TokenNotYetValid};
    let none = json!({});
    for (changes, expected) in [
        (json!({"exp": null}), Some(TokenInvalid)),
        (json!({"exp": NOW - 29}), None),
        (json!({"exp": NOW - 30}), Some(TokenExpired)),
        (json!({"exp": 0}), Some(TokenExpired)),
        (json!({"exp": NOW.to_string()}), Some(TokenInvalid)),
        (json!({"exp": 1e300}), Some(TokenInvalid)),
        (json!({"exp": -1}), Some(TokenInvalid)),
        (json!({"exp": true}), Some(TokenInvalid)),
        (json!({"exp": 4_000_000_000.5}), None),
        (json!({"nbf": NOW + 30}), None),
        (json!({"nbf": NOW + 31}), Some(TokenNotYetValid)),
        (json!({"nbf": "soon"}), Some(TokenInvalid)),
        (json!({"iat": NOW + 30}), None),
        (json!({"iat": NOW + 31}), Some(TokenNotYetValid)),
        (json!({"iat": null}), Some(TokenInvalid)),
    ] {
        assert_eq!(code(&none, &changes).await, expected, "{changes}");
    }
    assert_eq!(
        code(&json!({"leeway_seconds": 0}), &json!({"exp": NOW})).await,
        Some(TokenExpired)
    );
    assert_eq!(
        code(&json!({"leeway_seconds": 0}), &json!({"exp": NOW + 1})).await,
        None
    );
    assert_eq!(
        code(&json!({"issued_at": "optional"}), &json!({"iat": null})).await,
        None
    );
}

#[tokio::test]
async fn audiences_and_parties() {
    let wrong = Some(ErrorCode::TokenAudienceWrong);
    for (config, changes, expected) in [
        (json!({}), json!({"aud": "other"}), wrong),
        (json!({}), json!({"aud": "API"}), wrong),
        (json!({}), json!({"aud": null}), wrong),
        (json!({}), json!({"aud": []}), wrong),
        (json!({}), json!({"aud": ["other", "api"]}), None),
        (
            json!({}),
            json!({"aud": ["api", 1]}),
            Some(ErrorCode::TokenInvalid),
        ),
        (
            json!({}),
            json!({"aud": {"api": 1}}),
            Some(ErrorCode::TokenInvalid),
        ),
        (json!({"audiences": "any"}), json!({"aud": "other"}), None),
        (json!({"audiences": "any"}), json!({"aud": null}), None),
        (json!({"audiences": ["a", "b"]}), json!({"aud": "b"}), None),
        (
            json!({"authorized_parties": ["web"]}),
            json!({"azp": "web"}),
            None,
        ),
        (
            json!({"authorized_parties": ["web"]}),
            json!({"azp": "other"}),
            wrong,
        ),
        (json!({"authorized_parties": ["web"]}), json!({}), wrong),
        (
            json!({"authorized_parties": []}),
            json!({"azp": "web"}),
            wrong,
        ),
        (json!({}), json!({"azp": "other"}), None),
    ] {
        assert_eq!(
            code(&config, &changes).await,
            expected,
            "{config} {changes}"
        );
    }
}

#[tokio::test]
async fn only_configured_issuers() {
    let unknown = Some(ErrorCode::TokenIssuerUnknown);
    for iss in [
        "https://evil.example",
        "https://idp.example/",
        "",
        "rolegate",
    ] {
        assert_eq!(
            code(&json!({}), &json!({"iss": iss})).await,
            unknown,
            "{iss}"
        );
    }
    assert_eq!(code(&json!({}), &json!({"iss": null})).await, unknown);
    assert_eq!(
        code(&json!({}), &json!({"iss": [ISSUER]})).await,
        Some(ErrorCode::TokenInvalid)
    );
}

#[tokio::test]
async fn an_issuer_is_verified_with_its_own_keys_only() {
    let mut other = secret_issuer(&json!({"name": "other", "issuer": "https://other.example"}));
    other.keys =
        serde_json::from_value(json!({"shared_secret": "o".repeat(64)})).expect("a secret");
    let bench = Bench::new(&[secret_issuer(&json!({})), other]);
    let first = Key::Hs256(secret());
    let second = Key::Hs256(vec![b'o'; 64]);
    let of = |iss: &str| claims(&json!({ "iss": iss }));
    assert_eq!(bench.code(&first.sign(&of(ISSUER))).await, None);
    assert_eq!(
        bench.code(&second.sign(&of("https://other.example"))).await,
        None
    );
    let invalid = Some(ErrorCode::TokenInvalid);
    assert_eq!(
        bench.code(&first.sign(&of("https://other.example"))).await,
        invalid
    );
    assert_eq!(bench.code(&second.sign(&of(ISSUER))).await, invalid);
}

#[tokio::test]
async fn tokens_without_an_issuer_have_their_own_configuration() {
    let mut config = secret_issuer(&json!({}));
    config.issuer = None;
    let bench = Bench::new(&[config]);
    let key = Key::Hs256(secret());
    assert_eq!(
        bench.code(&key.sign(&claims(&json!({"iss": null})))).await,
        None
    );
    let unknown = Some(ErrorCode::TokenIssuerUnknown);
    assert_eq!(bench.code(&key.sign(&claims(&json!({})))).await, unknown);
}

#[tokio::test]
async fn a_token_is_for_one_database() {
    let wrong = Some(ErrorCode::TokenDatabaseWrong);
    let optional = json!({"db_name": "optional"});
    for (config, changes, expected) in [
        (&json!({}), json!({"db_name": "other"}), wrong),
        (&json!({}), json!({"db_name": "APP"}), wrong),
        (&json!({}), json!({"db_name": ""}), wrong),
        (&json!({}), json!({"db_name": "app user=postgres"}), wrong),
        (&json!({}), json!({"db_name": null}), wrong),
        (
            &json!({}),
            json!({"db_name": ["app"]}),
            Some(ErrorCode::TokenInvalid),
        ),
        (&optional, json!({"db_name": null}), None),
        (&optional, json!({"db_name": "other"}), wrong),
    ] {
        assert_eq!(code(config, &changes).await, expected, "{config} {changes}");
    }
    // What was remembered for one database says nothing about another.
    let bench = Bench::new(&[secret_issuer(&json!({}))]);
    let token = Key::Hs256(secret()).sign(&claims(&json!({})));
    assert_eq!(bench.code(&token).await, None);
    let elsewhere = bench
        .verifier
        .verify(&token, "other", bench.clock.now())
        .await;
    assert!(
        matches!(elsewhere, Err(JwtError::Database)),
        "{elsewhere:?}"
    );
}

#[tokio::test]
async fn special_roles_are_refused_whatever_signed_them() {
    let reserved = Some(ErrorCode::RoleReserved);
    for role in [
        "none",
        "NONE",
        "None",
        "\"none\"",
        " none ",
        "public",
        "pg_read_all_data",
        "",
    ] {
        assert_eq!(
            code(&json!({}), &json!({"role": role})).await,
            reserved,
            "{role}"
        );
        let db_role = json!({"role": null, "db_role": role});
        assert_eq!(code(&json!({}), &db_role).await, reserved, "{role}");
    }
    let missing = Some(ErrorCode::TokenRoleMissing);
    assert_eq!(code(&json!({}), &json!({"role": null})).await, missing);
    assert_eq!(code(&json!({}), &json!({"role": 1})).await, missing);
}

#[tokio::test]
async fn roles_by_path_map_list_and_default() {
    let keycloak = json!({"role": null, "realm_access": {"roles": ["offline_access", "Staff"]}});
    let mapped = json!({"role_map": {"Staff": "alice"}, "allowed_roles": ["alice"]});
    assert_eq!(code(&mapped, &keycloak).await, None);
    let listed = json!({"allowed_roles": ["alice"]});
    assert_eq!(
        code(&listed, &keycloak).await,
        Some(ErrorCode::RoleNotAllowed)
    );
    assert_eq!(
        code(&listed, &json!({"role": "bob"})).await,
        Some(ErrorCode::RoleNotAllowed)
    );
    assert_eq!(code(&listed, &json!({"role": "alice"})).await, None);
    let clients = json!({"role": null, "resource_access": {"app": {"roles": ["x", "alice"]}}});
    assert_eq!(code(&listed, &clients).await, None);
    let default = json!({"default_role": "guest"});
    assert_eq!(code(&default, &json!({"role": null})).await, None);
    assert_eq!(
        code(&default, &json!({"role": "none"})).await,
        Some(ErrorCode::RoleReserved)
    );
}

#[tokio::test]
async fn the_text_of_numbers_is_kept_and_the_role_is_the_chosen_one() {
    let bench = Bench::new(&[secret_issuer(&json!({"role_map": {"Staff": "alice"}}))]);
    let text = format!(
        r#"{{"iss":"{ISSUER}","aud":"api","db_name":"app","iat":{NOW},"exp":{}.0,"n":9007199254740993,"d":1.10,"deep":{{"e":1E2}},"role":"Staff"}}"#,
        NOW + 60
    );
    let token = Key::Hs256(secret()).sign_text(&json!({"alg": "HS256"}), &text);
    let verified = bench.verify(&token).await.expect("good");
    assert_eq!(verified.claims.as_ref(), text.replace("Staff", "alice"));
}

#[tokio::test]
async fn texts_that_postgresql_cannot_hold_are_refused() {
    let invalid = Some(ErrorCode::TokenInvalid);
    assert_eq!(code(&json!({}), &json!({"name": "a\0b"})).await, invalid);
}

#[tokio::test]
async fn what_is_remembered_ends_with_the_token() {
    let bench = Bench::new(&[secret_issuer(&json!({"leeway_seconds": 5}))]);
    let token = Key::Hs256(secret()).sign(&claims(&json!({"exp": NOW + 60})));
    assert_eq!(bench.code(&token).await, None);
    assert_eq!(bench.verifier.cached(), 1);
    bench.clock.advance(64);
    assert_eq!(bench.code(&token).await, None);
    bench.clock.advance(1);
    assert_eq!(bench.code(&token).await, Some(ErrorCode::TokenExpired));
    bench.clock.advance(-200);
    assert_eq!(
        bench.code(&token).await,
        Some(ErrorCode::TokenNotYetValid),
        "iat is checked too"
    );
}

#[tokio::test]
async fn refused_tokens_are_not_remembered() {
    let bench = Bench::new(&[secret_issuer(&json!({}))]);
    for n in 0..100 {
        bench
            .code(&Key::Hs256(vec![0; 64]).sign(&claims(&json!({"jti": n.to_string()}))))
            .await;
    }
    assert_eq!(bench.verifier.cached(), 0);
}

#[tokio::test]
async fn the_memory_for_tokens_is_bounded() {
    let options = VerifierOptions {
        cache_bytes: 20_000,
        ..VerifierOptions::default()
    };
    let bench = Bench::with(&[secret_issuer(&json!({}))], options);
    for n in 0..200 {
        let token = Key::Hs256(secret()).sign(&claims(&json!({"jti": n.to_string()})));
        assert_eq!(bench.code(&token).await, None);
    }
    assert!(bench.verifier.cached() <= 40, "{}", bench.verifier.cached());
}

#[test]
fn configurations_that_contradict_themselves_are_refused() {
    let refusal = |configs: &[IssuerConfig]| {
        let clock: std::sync::Arc<dyn Clock> = fixed_clock();
        Verifier::new(configs, None, VerifierOptions::default(), &clock).expect_err("refused")
    };
    let with = |changes: Value| secret_issuer(&changes);
    let same = with(json!({"name": "again"}));
    assert!(matches!(
        refusal(&[with(json!({})), same]),
        VerifierError::Ambiguous(_)
    ));
    let leeway = with(json!({"leeway_seconds": 301}));
    assert!(matches!(refusal(&[leeway]), VerifierError::Leeway(_)));
    assert!(matches!(
        refusal(&[with(json!({"role_claims": []}))]),
        VerifierError::NoRole(_)
    ));
    for changes in [
        json!({"allowed_roles": ["alice"], "default_role": "bob"}),
        json!({"allowed_roles": ["alice"], "role_map": {"x": "bob"}}),
    ] {
        assert!(matches!(
            refusal(&[with(changes)]),
            VerifierError::NotAllowed { .. }
        ));
    }
}
