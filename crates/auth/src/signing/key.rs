//! One signing key.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::seal::{SealError, SealingKey};
use super::store::StoredKey;
use crate::encoding::{base64url, sha256};
use crate::jwt::key::VerifyKey;

/// The algorithm of all our keys.
pub(super) const ALGORITHM: &str = "ES256";
/// A P-256 point without compression: 4, x, y.
const POINT_BYTES: usize = 65;

/// An ES256 key pair.
pub struct SigningKey {
    kid: String,
    pair: EcdsaKeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a key, and seals it for the store.
    pub fn generate(sealing: &SealingKey, now: Timestamp) -> Result<(Self, StoredKey), SealError> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| SealError::Library)?;
        let key = Self::from_pkcs8(document.as_ref())?;
        let stored = StoredKey {
            kid: key.kid.clone(),
            algorithm: ALGORITHM.to_owned(),
            public_jwk: key.public_jwk().to_string(),
            sealed_private: Some(sealing.seal(document.as_ref(), &context(&key.kid))?),
            created_at: now,
            signs_from: now,
            signs_until: None,
        };
        Ok((key, stored))
    }

    /// Opens a stored key; refused unless it is the one its name says.
    pub fn open(stored: &StoredKey, sealing: &SealingKey) -> Result<Self, SealError> {
        let sealed = stored.sealed_private.as_deref().ok_or(SealError::Refused)?;
        let private = sealing.open(sealed, &context(&stored.kid))?;
        let key = Self::from_pkcs8(&private)?;
        if key.kid != stored.kid || stored.algorithm != ALGORITHM {
            return Err(SealError::Refused);
        }
        Ok(key)
    }

    fn from_pkcs8(private: &[u8]) -> Result<Self, SealError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private)
            .map_err(|_| SealError::Refused)?;
        if pair.public_key().as_ref().len() != POINT_BYTES {
            return Err(SealError::Refused);
        }
        let mut key = Self {
            kid: String::new(),
            pair,
        };
        let (x, y) = key.coordinates();
        // RFC 7638: the required members in the order of their names, without spaces.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        key.kid = base64url(&sha256(canonical.as_bytes()));
        Ok(key)
    }

    /// Its name: the RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK.
    pub fn public_jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y,
            "kid": self.kid, "use": "sig", "alg": ALGORITHM,
        })
    }

    fn coordinates(&self) -> (String, String) {
        let point = self.pair.public_key().as_ref();
        (base64url(&point[1..33]), base64url(&point[33..]))
    }

    /// The key for verifying.
    pub(super) fn verify_key(&self) -> Option<VerifyKey> {
        let key = VerifyKey::ec_point(self.pair.public_key().as_ref()).ok()?;
        Some(key.named(Some(self.kid.clone())))
    }

    /// Signs claims: a JWT.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, SealError> {
        let header = json!({"alg": ALGORITHM, "typ": "JWT", "kid": self.kid});
        let signed = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(claims.to_string().as_bytes())
        );
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| SealError::Library)?;
        Ok(format!("{signed}.{}", base64url(signature.as_ref())))
    }
}

/// What a sealed key is bound to.
fn context(kid: &str) -> String {
    format!("rolegate signing key|{ALGORITHM}|{kid}")
}
