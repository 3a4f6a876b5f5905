//! Keys that sign tokens, made for the test.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;
use uuid::Uuid;

/// A private key with its id and public half.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    /// For the HMAC family, whose key is also what verifies.
    secret: Option<Vec<u8>>,
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The cryptographic library refused.
    #[error("the key cannot be generated")]
    Generate(#[from] aws_lc_rs::error::Unspecified),
    /// The key does not fit the token library.
    #[error("the key cannot be used for tokens")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// An algorithm the stub does not do.
    #[error("no keys are made for {0:?}")]
    Algorithm(Algorithm),
}

impl SigningKey {
    /// A new key for `algorithm`: RSA with 2048 bits, the curve of the algorithm, or a secret as
    /// long as the hash.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let mut secret = None;
        let private = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                let mut bytes = vec![0; 64];
                bytes.truncate(match algorithm {
                    Algorithm::HS256 => 32,
                    Algorithm::HS384 => 48,
                    _ => 64,
                });
                SystemRandom::new().fill(&mut bytes)?;
                let key = EncodingKey::from_secret(&bytes);
                secret = Some(bytes);
                key
            }
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
                let der = pair.as_der()?;
                EncodingKey::from_rsa_pem(pem(der.as_ref()).as_bytes())?
            }
            Algorithm::ES256 | Algorithm::ES384 => {
                let curve = if algorithm == Algorithm::ES256 {
                    &signature::ECDSA_P256_SHA256_FIXED_SIGNING
                } else {
                    &signature::ECDSA_P384_SHA384_FIXED_SIGNING
                };
                let der = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new())?;
                EncodingKey::from_ec_pem(pem(der.as_ref()).as_bytes())?
            }
            Algorithm::EdDSA => {
                let der = Ed25519KeyPair::generate()?.to_pkcs8v1()?;
                EncodingKey::from_ed_pem(pem(der.as_ref()).as_bytes())?
            }
            other => return Err(KeyError::Algorithm(other)),
        };
        Ok(Self {
            kid: Uuid::new_v4().simple().to_string(),
            algorithm,
            private,
            secret,
        })
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The shared secret, if it is one.
    pub fn secret(&self) -> Option<&[u8]> {
        self.secret.as_deref()
    }

    /// The key itself, for tokens that [`sign_as`](Self::sign_as) cannot make.
    pub fn encoding_key(&self) -> &EncodingKey {
        &self.private
    }

    /// The public half; `None` for a secret.
    pub fn public_jwk(&self) -> Result<Option<Jwk>, KeyError> {
        if self.secret.is_some() {
            return Ok(None);
        }
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm)?;
        jwk.common.key_id = Some(self.kid.clone());
        Ok(Some(jwk))
    }

    /// Signs `claims`, with the key's algorithm and id in the header.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(self.algorithm)
        };
        self.sign_as(&header, claims)
    }

    /// Signs `claims` under another header, with another `kid` for example. Fails the test if the
    /// header's algorithm is of another family than the key.
    pub fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.private)
            .unwrap_or_else(|error| panic!("signing with {:?}: {error}", header.alg))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// PKCS #8 as the token library reads it.
fn pem(pkcs8: &[u8]) -> String {
    let base64 = STANDARD.encode(pkcs8);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}
