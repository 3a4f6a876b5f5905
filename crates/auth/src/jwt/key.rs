//! A key that verifies signatures, and what it may be used for.

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use rolegate_pg::der;

/// The weakest RSA key that is used, in bits.
pub const MIN_RSA_BITS: usize = 2048;
/// The largest one: verifying with a larger key costs more than a request should.
pub const MAX_RSA_BITS: usize = 8192;

/// A key with the algorithms its type allows.
#[derive(Clone)]
pub(crate) struct VerifyKey {
    pub(crate) kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyKey")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// Why a key is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A shared secret shorter than the shortest hash.
    #[error("the shared secret has {0} bytes; at least 32 are needed")]
    SecretTooShort(usize),
    /// Not `PUBLIC KEY` or `RSA PUBLIC KEY`.
    #[error("not a public key in PEM; certificates and private keys are not taken")]
    NotPublicPem,
    /// Cannot be decoded.
    #[error("the key is malformed")]
    Malformed,
    /// RSA outside of 2048 to 8192 bits.
    #[error("an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaSize(usize),
    /// A curve, key type or algorithm that is not supported.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// `use` or `key_ops` say that it is not for signatures.
    #[error("the key is not for verifying signatures")]
    Purpose,
    /// Another key of the set has the same name.
    #[error("another key of the set has the same name")]
    Repeated,
}

impl VerifyKey {
    /// A shared secret. Its length decides which hashes it is good enough for.
    pub(crate) fn shared_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let algorithms: Vec<_> = [
            (32, Algorithm::HS256),
            (48, Algorithm::HS384),
            (64, Algorithm::HS512),
        ]
        .into_iter()
        .filter(|(bytes, _)| secret.len() >= *bytes)
        .map(|(_, algorithm)| algorithm)
        .collect();
        if algorithms.is_empty() {
            return Err(KeyError::SecretTooShort(secret.len()));
        }
        Ok(Self {
            kid: None,
            algorithms,
            key: DecodingKey::from_secret(secret),
        })
    }

    /// A public key in PEM.
    pub(crate) fn public_pem(pem: &str) -> Result<Self, KeyError> {
        let label = pem.trim_start().lines().next().unwrap_or_default().trim();
        if !matches!(
            label,
            "-----BEGIN PUBLIC KEY-----" | "-----BEGIN RSA PUBLIC KEY-----"
        ) {
            return Err(KeyError::NotPublicPem);
        }
        let bytes = pem.as_bytes();
        if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
            return Self::ed25519(key.try_get_as_bytes().map_err(|_| KeyError::Malformed)?);
        }
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            return Self::ec_point(key.try_get_as_bytes().map_err(|_| KeyError::Malformed)?);
        }
        let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| KeyError::Malformed)?;
        let der = key.try_get_as_bytes().map_err(|_| KeyError::Malformed)?;
        let (modulus, exponent) = rsa_components(der).ok_or(KeyError::Malformed)?;
        Self::rsa(modulus, exponent)
    }

    /// An RSA key.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = &modulus[zeros..];
        let first = modulus.first().ok_or(KeyError::Malformed)?;
        let bits = modulus.len() * 8 - first.leading_zeros() as usize;
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::RsaSize(bits));
        }
        let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
        let exponent = &exponent[zeros..];
        // An even exponent, or 1, makes signatures that anybody can write.
        let small = matches!(exponent, [] | [0 | 1]);
        if small || exponent.len() > 8 || exponent.last().is_some_and(|byte| byte & 1 == 0) {
            return Err(KeyError::Malformed);
        }
        Ok(Self {
            kid: None,
            algorithms: AlgorithmFamily::Rsa.algorithms().to_vec(),
            key: DecodingKey::from_rsa_raw_components(modulus, exponent),
        })
    }

    /// A point on a curve, uncompressed: its length says which curve.
    pub(crate) fn ec_point(point: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match (point.first(), point.len()) {
            (Some(4), 65) => Algorithm::ES256,
            (Some(4), 97) => Algorithm::ES384,
            _ => return Err(KeyError::Unsupported("this curve".to_owned())),
        };
        Ok(Self {
            kid: None,
            algorithms: vec![algorithm],
            key: DecodingKey::from_ec_der(point),
        })
    }

    /// An Ed25519 key.
    pub(crate) fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 32 {
            return Err(KeyError::Malformed);
        }
        let key = DecodingKey::from_ed_der(point);
        Ok(Self {
            kid: None,
            algorithms: vec![Algorithm::EdDSA],
            key,
        })
    }

    /// The same key under a name.
    pub(crate) fn named(mut self, kid: Option<String>) -> Self {
        self.kid = kid;
        self
    }

    /// The same key for one algorithm only, which has to be one that its type allows.
    pub(crate) fn only_for(mut self, algorithm: &str) -> Result<Self, KeyError> {
        self.algorithms
            .retain(|allowed| name(*allowed) == algorithm);
        if self.algorithms.is_empty() {
            return Err(KeyError::Unsupported(algorithm.chars().take(32).collect()));
        }
        Ok(self)
    }

    /// The algorithm of that name, if this key may be used with it.
    pub(crate) fn allowed(&self, algorithm: &str) -> Option<Algorithm> {
        self.algorithms
            .iter()
            .copied()
            .find(|allowed| name(*allowed) == algorithm)
    }

    /// Whether `signature` (base64url) over `message` is one of this key.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }
}

/// The name of an algorithm in a header. Compared as text, so that nothing else is ever parsed
/// from the header: not `none`, not another case.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::HS384 => "HS384",
        Algorithm::HS512 => "HS512",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        Algorithm::EdDSA => "EdDSA",
        // An algorithm that the library learns later is not offered until it is listed here.
        _ => "",
    }
}

fn rsa_components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (modulus, rest) = der::unsigned(der::only(der, der::SEQUENCE)?)?;
    let (exponent, rest) = der::unsigned(rest)?;
    rest.is_empty().then_some((modulus, exponent))
}
