//! Our own tokens: signed, verified, rotated, and not forged through the table of keys.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use rolegate_auth::jwt::{JwtError, Verifier, VerifierOptions};
use rolegate_auth::signing::{
    KeyState, OwnToken, SealingKey, SigningError, SigningKey, SigningKeyStore, SigningKeys,
    StoreError, StoredKey,
};
use rolegate_auth::{Origin, VerifiedToken};
use rolegate_model::{Clock, FixedClock, RoleIdentity, RoleName};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::minter::{Key, NOW, fixed_clock};

#[derive(Debug, Default)]
struct Table(Mutex<Vec<StoredKey>>);

impl SigningKeyStore for Table {
    fn load(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>> {
        async { Ok(self.0.lock().expect("not poisoned").clone()) }.boxed()
    }

    fn store<'a>(&'a self, key: &'a StoredKey) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.0.lock().expect("not poisoned").push(key.clone());
            Ok(())
        }
        .boxed()
    }
}

struct Setup {
    table: Arc<Table>,
    clock: Arc<FixedClock>,
    keys: Arc<SigningKeys>,
    verifier: Verifier,
}

fn sealing(byte: u8) -> SealingKey {
    SealingKey::from_bytes(&[byte; 32]).expect("32 bytes")
}

async fn open(
    table: &Arc<Table>,
    clock: &Arc<FixedClock>,
    byte: u8,
) -> Result<Arc<SigningKeys>, SigningError> {
    SigningKeys::open("rolegate", table.clone(), sealing(byte), clock.clone()).await
}

async fn setup() -> Setup {
    let (table, clock) = (Arc::new(Table::default()), fixed_clock());
    let keys = open(&table, &clock, 1)
        .await
        .expect("an empty table is fine");
    keys.ensure_key().await.expect("makes a key");
    let shared: Arc<dyn Clock> = clock.clone();
    let options = VerifierOptions::default();
    let verifier = Verifier::new(&[], Some(keys.clone()), options, &shared).expect("valid");
    Setup {
        table,
        clock,
        keys,
        verifier,
    }
}

fn alice() -> RoleIdentity {
    RoleIdentity {
        name: RoleName::new("alice").expect("usable"),
        oid: 4711,
        system_identifier: u64::MAX - 1,
    }
}

impl Setup {
    fn token(&self) -> String {
        let role = alice();
        let token = OwnToken {
            role: &role,
            database: "app",
            lifetime: SignedDuration::from_hours(100),
        };
        self.keys
            .sign(&token)
            .expect("signs")
            .token
            .expose_secret()
            .to_owned()
    }

    async fn verify(&self, bearer: &str) -> Result<Arc<VerifiedToken>, JwtError> {
        self.verifier.verify(bearer, "app", self.clock.now()).await
    }
}

fn kid(bearer: &str) -> String {
    use base64::Engine as _;
    let header = bearer.split('.').next().expect("a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

#[tokio::test]
async fn a_token_of_ours_names_the_role_and_its_identity() {
    let setup = setup().await;
    let token = setup.verify(&setup.token()).await.expect("ours");
    assert_eq!(token.role.as_str(), "alice");
    assert_eq!(token.issuer.as_ref(), "rolegate");
    assert_eq!(token.subject.as_deref(), Some("alice"));
    assert_eq!(
        token.origin,
        Origin::Own {
            role_oid: 4711,
            system_identifier: u64::MAX - 1
        }
    );
    let claims: Value = serde_json::from_str(&token.claims).expect("JSON");
    assert_eq!(claims["db_role"], "alice");
    assert_eq!(claims["db_name"], "app");
    assert_eq!(claims["jti"], token.token_id.as_ref());
    let elsewhere = setup
        .verifier
        .verify(&setup.token(), "other", setup.clock.now())
        .await;
    assert!(
        matches!(elsewhere, Err(JwtError::Database)),
        "{elsewhere:?}"
    );
}

#[tokio::test]
async fn the_published_keys_are_public_and_named_by_thumbprint() {
    let setup = setup().await;
    let document: Value = serde_json::from_str(&setup.keys.jwks()).expect("JSON");
    let keys = document["keys"].as_array().expect("a list");
    assert_eq!(keys.len(), 1);
    assert!(keys[0].get("d").is_none(), "no private part");
    assert_eq!(keys[0]["kid"], kid(&setup.token()));
    let members = ["crv", "kty", "x", "y"]
        .map(|name| format!("\"{name}\":{}", keys[0][name]))
        .join(",");
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        format!("{{{members}}}").as_bytes(),
    );
    assert_eq!(keys[0]["kid"], crate::minter::base64url(digest));
}

#[tokio::test]
async fn a_new_key_is_published_first_and_signs_later() {
    let setup = setup().await;
    let first = setup.token();
    setup.clock.advance(3600);
    let new = setup.keys.rotate().await.expect("rotates");
    let states = |setup: &Setup| setup.keys.states();
    assert_eq!(
        states(&setup),
        [
            (new.clone(), KeyState::Standby),
            (kid(&first), KeyState::Active)
        ]
    );
    assert_eq!(kid(&setup.token()), kid(&first));
    assert!(setup.keys.jwks().contains(&new));
    setup.clock.advance(600);
    assert_eq!(kid(&setup.token()), new);
    assert_eq!(
        states(&setup),
        [(new, KeyState::Active), (kid(&first), KeyState::Retired)]
    );
    setup.verify(&first).await.expect("still verifies");
}

#[tokio::test]
async fn a_forgotten_key_stops_working_also_for_remembered_tokens() {
    let setup = setup().await;
    let first = setup.token();
    setup.verify(&first).await.expect("ours");
    setup.keys.rotate().await.expect("rotates");
    setup
        .table
        .0
        .lock()
        .expect("not poisoned")
        .retain(|key| key.kid != kid(&first));
    setup.keys.reload().await.expect("loads");
    let outcome = setup.verify(&first).await;
    assert!(
        matches!(outcome, Err(JwtError::KidUnknown | JwtError::Signature)),
        "{outcome:?}"
    );
    setup
        .verify(&setup.token())
        .await
        .expect("the new key signs at once");
}

#[tokio::test]
async fn another_sealing_key_opens_nothing() {
    let setup = setup().await;
    let outcome = open(&setup.table, &setup.clock, 2).await;
    assert!(
        matches!(outcome, Err(SigningError::Sealed(_))),
        "{outcome:?}"
    );
    let again = open(&setup.table, &setup.clock, 1)
        .await
        .expect("the same key");
    assert_eq!(again.jwks(), setup.keys.jwks());
}

#[tokio::test]
async fn a_key_written_into_the_table_verifies_nothing() {
    let setup = setup().await;
    let genuine = setup.table.0.lock().expect("not poisoned")[0].clone();
    let attacker = Key::es256();
    let (_, foreign) = SigningKey::generate(&sealing(9), setup.clock.now()).expect("makes a key");
    let plant = |kid: &str, sealed_private: Option<Vec<u8>>| StoredKey {
        kid: kid.to_owned(),
        public_jwk: attacker.jwk(kid).to_string(),
        sealed_private,
        ..genuine.clone()
    };
    let planted = [
        plant("none", None),
        plant("empty", Some(Vec::new())),
        // The private part of a real key under another name, with the attacker's public part.
        plant("moved", genuine.sealed_private.clone()),
        StoredKey {
            public_jwk: attacker.jwk("foreign").to_string(),
            ..foreign.clone()
        },
    ];
    setup.table.0.lock().expect("not poisoned").extend(planted);
    // And the genuine row with another public part.
    setup.table.0.lock().expect("not poisoned")[0].public_jwk = attacker.jwk("x").to_string();
    setup.keys.reload().await.expect("loads");
    assert_eq!(setup.keys.states().len(), 1);
    let claims = json!({
        "iss": "rolegate", "sub": "alice", "role": "alice", "db_name": "app",
        "iat": NOW, "exp": NOW + 60,
        "rolegate_role_oid": 4711, "rolegate_system_identifier": "1",
    });
    for kid in [
        "none",
        "empty",
        "moved",
        foreign.kid.as_str(),
        genuine.kid.as_str(),
    ] {
        let outcome = setup.verify(&attacker.sign_as(kid, &claims)).await;
        let refused = matches!(outcome, Err(JwtError::KidUnknown | JwtError::Signature));
        assert!(refused, "{kid}: {outcome:?}");
    }
    setup
        .verify(&setup.token())
        .await
        .expect("the genuine key still works");
}

#[tokio::test]
async fn nothing_of_a_key_or_token_is_shown() {
    let setup = setup().await;
    let role = alice();
    let token = OwnToken {
        role: &role,
        database: "app",
        lifetime: SignedDuration::from_secs(5),
    };
    let signed = setup.keys.sign(&token).expect("signs");
    assert_eq!(signed.expires_in, 5);
    let shown = format!("{:?} {signed:?} {:?}", setup.keys, setup.table);
    assert!(!shown.contains(signed.token.expose_secret()), "{shown}");
    let sealed = setup.table.0.lock().expect("not poisoned")[0]
        .sealed_private
        .clone();
    assert!(
        !shown.contains(&format!("{:?}", sealed.expect("sealed"))),
        "{shown}"
    );
}
