//! Our own tokens: signed, verified, rotated, and not forged through the table of keys.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
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

/// What `rolegate.store_signing_key()` does, with a clock that a test can move; the function itself
/// is tested where there is a server.
#[derive(Debug)]
struct Table(Mutex<Vec<StoredKey>>, Arc<FixedClock>);

const STANDBY: SignedDuration = SignedDuration::from_mins(10);

impl SigningKeyStore for Table {
    fn load(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>> {
        async { Ok(self.0.lock().expect("not poisoned").clone()) }.boxed()
    }

    fn store<'a>(
        &'a self,
        key: &'a StoredKey,
        only_if_wanted: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            let mut rows = self.0.lock().expect("not poisoned");
            let now = self.1.now();
            if only_if_wanted && rows.iter().any(|row| row.signs_until.is_none()) {
                return Ok(false);
            }
            let current = |row: &&StoredKey| row.signs_until.is_none_or(|end| end > now);
            let signs = rows.iter().filter(current).any(|row| row.signs_from <= now);
            let waits = rows.iter().filter(current).map(|row| row.signs_from).max();
            let begins = if signs { now + STANDBY } else { now };
            let begins = waits.map_or(begins, |waits| waits.max(begins));
            for row in rows.iter_mut() {
                row.signs_until = Some(row.signs_until.map_or(begins, |end| end.min(begins)));
            }
            let mut key = key.clone();
            key.signs_from = begins;
            rows.push(key);
            Ok(true)
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
    let clock = fixed_clock();
    let table = Arc::new(Table(Mutex::default(), clock.clone()));
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

    /// When the last key before the present one ended, or the present one will.
    fn end_all(&self, at: Timestamp) {
        for row in &mut *self.table.0.lock().expect("not poisoned") {
            row.signs_until = Some(row.signs_until.map_or(at, |end| end.min(at)));
        }
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
    setup.clock.advance(599);
    let last = setup.token();
    assert_eq!(kid(&last), kid(&first), "a second before its time");
    setup.clock.advance(1);
    assert_eq!(kid(&setup.token()), new);
    assert_eq!(
        states(&setup),
        [
            (new.clone(), KeyState::Active),
            (kid(&first), KeyState::Retired)
        ]
    );
    // Its last token lives for a day; the key has to outlive it.
    setup.clock.advance(24 * 3600 - 2);
    setup.verify(&last).await.expect("still verifies");
    assert!(setup.keys.jwks().contains(&kid(&first)));
    // And then it is gone, though nothing made anybody load the keys again.
    setup.clock.advance(2);
    assert!(!setup.keys.jwks().contains(&kid(&first)));
    assert_eq!(states(&setup), [(new, KeyState::Active)]);
    let outcome = setup.verify(&last).await;
    assert!(outcome.is_err(), "{outcome:?}");
}

#[tokio::test]
async fn no_token_outlives_its_key() {
    let setup = setup().await;
    let role = alice();
    let token = OwnToken {
        role: &role,
        database: "app",
        lifetime: SignedDuration::from_hours(100),
    };
    assert_eq!(
        setup.keys.sign(&token).expect("signs").expires_in,
        24 * 3600
    );
}

#[tokio::test]
async fn processes_that_start_together_have_one_key() {
    let setup = setup().await;
    let table = Arc::new(Table(Mutex::default(), setup.clock.clone()));
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(open(&table, &setup.clock, 1).await.expect("opens"));
    }
    for process in &processes {
        process.ensure_key().await.expect("has a key");
    }
    assert_eq!(table.0.lock().expect("not poisoned").len(), 1);
    let first = processes[0].states();
    assert!(processes.iter().all(|process| process.states() == first));
}

#[tokio::test]
async fn processes_hand_over_together_whoever_makes_the_successor() {
    let setup = setup().await;
    let other = open(&setup.table, &setup.clock, 1).await.expect("opens");
    setup.clock.advance(3600);
    // Somebody asks for a new key; both see it at about the same time.
    setup.end_all(setup.clock.now() + SignedDuration::from_hours(1));
    for keys in [&setup.keys, &other] {
        keys.reload().await.expect("loads");
    }
    for keys in [&setup.keys, &other] {
        keys.ensure_key().await.expect("has a successor");
    }
    setup.keys.reload().await.expect("loads");
    assert_eq!(setup.table.0.lock().expect("not poisoned").len(), 2);
    let old = kid(&setup.token());
    for second in [0, 598, 1, 1, 600] {
        setup.clock.advance(second);
        assert_eq!(setup.keys.states(), other.states());
        assert_eq!(setup.keys.jwks(), other.jwks());
    }
    assert_ne!(kid(&setup.token()), old);
}

#[tokio::test]
async fn two_rotations_in_a_row_leave_no_gap() {
    let setup = setup().await;
    setup.clock.advance(3600);
    let first = kid(&setup.token());
    let second = setup.keys.rotate().await.expect("rotates");
    setup.clock.advance(300);
    let third = setup.keys.rotate().await.expect("rotates");
    assert_eq!(kid(&setup.token()), first);
    setup.clock.advance(300);
    assert_eq!(kid(&setup.token()), second);
    setup.clock.advance(300);
    assert_eq!(kid(&setup.token()), third);
}

#[tokio::test]
async fn after_all_keys_ended_the_next_one_signs_at_once() {
    let setup = setup().await;
    setup.end_all(setup.clock.now());
    setup.keys.reload().await.expect("loads");
    let role = alice();
    let token = OwnToken {
        role: &role,
        database: "app",
        lifetime: SignedDuration::from_secs(5),
    };
    let outcome = setup.keys.sign(&token);
    assert!(matches!(outcome, Err(SigningError::NoKey)), "{outcome:?}");
    setup.keys.ensure_key().await.expect("makes one");
    setup.verify(&setup.token()).await.expect("signs");
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
