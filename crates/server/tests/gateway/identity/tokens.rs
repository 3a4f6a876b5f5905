//! What a token must be, whoever it names.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::{hmac, rand, signature};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use rolegate_model::{Clock, FixedClock, SystemClock};
use rolegate_testkit::identity_provider::{Algorithm, Header, IdentityProvider, SigningKey};
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use super::{ALGORITHMS, WHO, assert_refused, claims, claims_with, fetched, issuer};
use crate::harness::{Gateway, Options, api, code, outcome, text};

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret),
        signed.as_bytes(),
    );
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
async fn every_key_type_works_and_every_wrong_claim_is_refused_with_its_code() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        api(db, &[], WHO).await;
        let provider = IdentityProvider::start(&ALGORITHMS)
            .await
            .expect("it starts");
        let secret = "a-shared-secret-of-more-than-32-bytes!";
        let issuers = vec![
            fetched(&provider),
            issuer(
                "shared",
                Some("https://shared.example"),
                &json!({"shared_secret": secret}),
            ),
        ];
        let gateway = Gateway::start_with(
            db,
            Options {
                issuers,
                ..Options::default()
            },
        )
        .await;

        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            let token = provider.issue(algorithm, claims(&ann));
            let (status, body) = gateway.call(&token, "who", "").await;
            assert_eq!(
                (status, body),
                (StatusCode::OK, json!(ann).to_string()),
                "{algorithm:?}"
            );
        }
        let shared = |changes: Value| {
            let mut changes = changes;
            changes["iss"] = json!("https://shared.example");
            hs256(
                &json!({"alg": "HS256"}),
                &claims_with(&ann, &changes),
                secret.as_bytes(),
            )
        };
        let (status, body) = gateway.call(&shared(json!({})), "who", "").await;
        assert_eq!(status, StatusCode::OK, "{body}");

        let es = Algorithm::ES256;
        let with = |changes: Value| provider.issue(es, claims_with(&ann, &changes));
        let now = SystemClock.now().as_second();
        let good = with(json!({}));
        let unsigned = |header: Value| {
            let mut claims = claims(&ann);
            claims["iss"] = provider.issuer().into();
            format!("{}.{}.", part(&header), part(&claims))
        };
        let (head, _) = good.rsplit_once('.').expect("three parts");
        let (_, other_signature) = provider
            .issue(es, claims_with(&ann, &json!({"sub": "else"})))
            .rsplit_once('.')
            .map(|(head, signature)| (head.to_owned(), signature.to_owned()))
            .expect("three parts");
        let stranger = SigningKey::generate(es).expect("a key");
        let mut own = claims(&ann);
        own["iss"] = provider.issuer().into();
        let with_kid = |kid: &str| Header {
            kid: Some(kid.to_owned()),
            ..Header::new(es)
        };
        let invalid = (401, "token_invalid");
        let cases = [
            ("alg none", unsigned(json!({"alg": "none"})), invalid),
            ("alg None", unsigned(json!({"alg": "None"})), invalid),
            ("no alg", unsigned(json!({})), invalid),
            (
                "alg none, known kid",
                unsigned(json!({"alg": "none", "kid": provider.key(es).kid()})),
                invalid,
            ),
            ("no signature", format!("{head}."), invalid),
            (
                "another token's signature",
                format!("{head}.{other_signature}"),
                invalid,
            ),
            ("unknown kid", stranger.sign(&own), invalid),
            (
                "a stranger's key, known kid",
                stranger.sign_as(&with_kid(provider.key(es).kid()), &own),
                invalid,
            ),
            (
                "kid of another key",
                provider
                    .key(es)
                    .sign_as(&with_kid(provider.key(Algorithm::RS256).kid()), &own),
                invalid,
            ),
            (
                "HS256 with a key that is not published",
                provider.issue(Algorithm::HS256, claims(&ann)),
                invalid,
            ),
            (
                "expired",
                with(json!({"iat": now - 900, "exp": now - 60})),
                (401, "token_expired"),
            ),
            (
                "not yet valid",
                with(json!({"nbf": now + 300})),
                (401, "token_not_yet_valid"),
            ),
            (
                "issued in the future",
                with(json!({"iat": now + 300})),
                (401, "token_not_yet_valid"),
            ),
            (
                "wrong aud",
                with(json!({"aud": "others"})),
                (401, "token_audience_wrong"),
            ),
            (
                "wrong auds",
                with(json!({"aud": ["others", "more"]})),
                (401, "token_audience_wrong"),
            ),
            (
                "no aud",
                with(json!({"aud": null})),
                (401, "token_audience_wrong"),
            ),
            (
                "foreign db_name",
                with(json!({"db_name": "other"})),
                (401, "token_database_wrong"),
            ),
            (
                "the database's real name",
                with(json!({"db_name": db.name()})),
                (401, "token_database_wrong"),
            ),
            (
                "no db_name",
                with(json!({"db_name": null})),
                (401, "token_database_wrong"),
            ),
            ("no exp", with(json!({"exp": null})), invalid),
            ("exp as text", with(json!({"exp": "2999-01-01"})), invalid),
            ("exp beyond numbers", with(json!({"exp": 1e300})), invalid),
            ("no iat", with(json!({"iat": null})), invalid),
            (
                "wrong iss",
                provider.sign(
                    es,
                    &claims_with(&ann, &json!({"iss": "https://evil.example"})),
                ),
                (401, "token_issuer_unknown"),
            ),
            (
                "no iss",
                provider.sign(es, &claims(&ann)),
                (401, "token_issuer_unknown"),
            ),
            (
                "iss of the other issuer",
                provider.sign(
                    es,
                    &claims_with(&ann, &json!({"iss": "https://shared.example"})),
                ),
                invalid,
            ),
            (
                "HS512 under an HS256 secret",
                hs256(
                    &json!({"alg": "HS512"}),
                    &claims_with(&ann, &json!({"iss": "https://shared.example"})),
                    secret.as_bytes(),
                ),
                invalid,
            ),
            (
                "shared, expired",
                shared(json!({"iat": now - 900, "exp": now - 60})),
                (401, "token_expired"),
            ),
            ("three words", "a.b.c".to_owned(), invalid),
            ("no token at all", "nonsense".to_owned(), invalid),
            (
                "an API token that is none",
                format!("rg_{}", "0".repeat(72)),
                invalid,
            ),
        ];
        assert_refused(&gateway, &cases, &["evil.example", &ann]).await;
        // The issuer's keys were fetched at the start and once more for the first unknown name.
        assert!(provider.requests() <= 2, "{} requests", provider.requests());
    })
    .await;
}

#[tokio::test]
async fn a_public_key_is_never_a_shared_secret() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        api(db, &[], WHO).await;
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let issuers = vec![issuer(
            "pem",
            Some("https://pem.example"),
            &json!({"public_key": pem}),
        )];
        let gateway = Gateway::start_with(
            db,
            Options {
                issuers,
                ..Options::default()
            },
        )
        .await;
        let claims = claims_with(&ann, &json!({"iss": "https://pem.example"}));

        let signed = format!("{}.{}", part(&json!({"alg": "RS256"})), part(&claims));
        let mut tag = vec![0; pair.public_modulus_len()];
        let random = rand::SystemRandom::new();
        pair.sign(
            &signature::RSA_PKCS1_SHA256,
            &random,
            signed.as_bytes(),
            &mut tag,
        )
        .expect("a signature");
        let good = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        let (status, body) = gateway.call(&good, "who", "").await;
        assert_eq!(status, StatusCode::OK, "{body}");

        let invalid = (401, "token_invalid");
        let secrets = [
            ("PEM", pem.clone().into_bytes()),
            ("PEM, trimmed", pem.trim().as_bytes().to_vec()),
            ("DER", der.as_ref().to_vec()),
            ("PKCS #1", pair.public_key().as_ref().to_vec()),
            ("nothing", Vec::new()),
        ];
        let cases = secrets.map(|(what, secret)| {
            (
                what,
                hs256(&json!({"alg": "HS256", "typ": "JWT"}), &claims, &secret),
                invalid,
            )
        });
        assert_refused(&gateway, &cases, &[&ann]).await;
    })
    .await;
}

#[tokio::test]
async fn after_a_rotation_the_new_key_works_and_the_old_one_does_not() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        api(db, &[], WHO).await;
        let provider = IdentityProvider::start(&[Algorithm::ES256])
            .await
            .expect("it starts");
        let clock = Arc::new(FixedClock::new(SystemClock.now()));
        let options = Options {
            issuers: vec![fetched(&provider)],
            clock: Some(Arc::clone(&clock) as Arc<dyn Clock>),
            ..Options::default()
        };
        let gateway = Gateway::start_with(db, options).await;
        let ask = async |token: &str| {
            let body = r#"{"jsonrpc": "2.0", "id": 1, "method": "capabilities"}"#;
            let (status, code, _) = outcome(gateway.post("", Some(token), body)).await;
            (status, code)
        };
        let ok = (200, "ok".to_owned());
        let old = provider.issue(Algorithm::ES256, claims(&ann));
        assert_eq!(ask(&old).await, ok);
        provider.rotate(true).expect("new keys");
        clock.advance(31);
        let new = provider.issue(Algorithm::ES256, claims(&ann));
        assert_eq!(ask(&new).await, ok);
        assert_eq!(ask(&old).await, ok, "still published");
        provider.rotate(false).expect("new keys");
        clock.advance(31);
        let newest = provider.issue(Algorithm::ES256, claims(&ann));
        assert_eq!(ask(&newest).await, ok);
        for gone in [&old, &new] {
            assert_eq!(ask(gone).await, (401, "token_invalid".to_owned()));
        }
    })
    .await;
}

#[tokio::test]
async fn two_credentials_or_another_scheme_are_no_credential() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        api(db, &[], WHO).await;
        let gateway = Gateway::start(db).await;
        let token = gateway.token(&ann).await;
        let bearer = format!("Bearer {token}");
        let (status, _) = gateway.call(&token, "who", "").await;
        assert_eq!(status, StatusCode::OK);
        let headers: [&[&str]; 7] = [
            &[&bearer, &bearer],
            &[&bearer, "Bearer x"],
            &["Basic cG9zdGdyZXM6", &bearer],
            &["Basic cG9zdGdyZXM6"],
            &["Bearer"],
            &["Bearer a b"],
            &[""],
        ];
        for headers in headers {
            let mut request = gateway.client.post(gateway.url("/who"));
            for header in headers {
                request = request.header("authorization", *header);
            }
            let (status, body) = text(request).await;
            assert_eq!(
                (status.as_u16(), code(&body).as_str()),
                (401, "credential_malformed"),
                "{headers:?}"
            );
            assert!(!body.contains(&token));
        }
        // A cookie or a query parameter is not read at all: the request is anonymous.
        let request = gateway
            .client
            .post(gateway.url(&format!("/who?access_token={token}")));
        let (_, body) = text(request.header("cookie", format!("token={token}"))).await;
        assert_eq!(body, "\"rolegate_anonymous\"");
    })
    .await;
}

#[tokio::test]
async fn a_token_of_one_database_is_nothing_at_another() {
    for_each_version(async |db| {
        let other = TestDatabase::create(db.version()).await;
        let ann = db.create_role("ann").await;
        // The role belongs to the cluster; here it is admitted for both databases.
        for db in [db, &other] {
            api(db, &[], WHO).await;
        }
        let (one, two) = (Gateway::start(db).await, Gateway::start(&other).await);
        let (token, foreign) = (one.token(&ann).await, two.token(&ann).await);
        for (gateway, own, wrong) in [(&one, &token, &foreign), (&two, &foreign, &token)] {
            assert_eq!(gateway.call(own, "who", "").await.0, StatusCode::OK);
            let (status, body) = gateway.call(wrong, "who", "").await;
            assert_eq!(
                (status.as_u16(), code(&body).as_str()),
                (401, "token_invalid"),
                "{body}"
            );
        }
        drop(two);
        other.drop().await;
    })
    .await;
}
