//! Signs tokens of every kind, good and bad.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rolegate_auth::jwt::{JwtError, VerifierOptions};
use rolegate_auth::{IssuerConfig, VerifiedToken, Verifier};
use rolegate_model::{Clock, ErrorCode, FixedClock};
use serde_json::{Value, json};

/// The issuer of the tests.
pub(crate) const ISSUER: &str = "https://idp.example";
/// The time of the tests, seconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_000;

/// A key that signs.
pub(crate) enum Key {
    Hs256(Vec<u8>),
    Hs384(Vec<u8>),
    Hs512(Vec<u8>),
    Rs256(Arc<RsaKeyPair>),
    Ps256(Arc<RsaKeyPair>),
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub(crate) fn rsa(size: KeySize) -> Arc<RsaKeyPair> {
        Arc::new(RsaKeyPair::generate(size).expect("a key"))
    }

    pub(crate) fn es256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::Es256(pair.expect("a key"))
    }

    pub(crate) fn es384() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING);
        Self::Es384(pair.expect("a key"))
    }

    pub(crate) fn ed() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().expect("a key"))
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Hs384(_) => "HS384",
            Self::Hs512(_) => "HS512",
            Self::Rs256(_) => "RS256",
            Self::Ps256(_) => "PS256",
            Self::Es256(_) => "ES256",
            Self::Es384(_) => "ES384",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let mac = |algorithm, secret: &[u8]| {
            hmac::sign(&hmac::Key::new(algorithm, secret), message)
                .as_ref()
                .to_vec()
        };
        let rsa = |pair: &RsaKeyPair, padding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, message, &mut signature)
                .expect("signs");
            signature
        };
        match self {
            Self::Hs256(secret) => mac(hmac::HMAC_SHA256, secret),
            Self::Hs384(secret) => mac(hmac::HMAC_SHA384, secret),
            Self::Hs512(secret) => mac(hmac::HMAC_SHA512, secret),
            Self::Rs256(pair) => rsa(pair, &RSA_PKCS1_SHA256),
            Self::Ps256(pair) => rsa(pair, &RSA_PSS_SHA256),
            Self::Es256(pair) | Self::Es384(pair) => pair
                .sign(&random, message)
                .expect("signs")
                .as_ref()
                .to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key as PEM.
    pub(crate) fn pem(&self) -> String {
        let der = match self {
            Self::Rs256(pair) | Self::Ps256(pair) => {
                pair.public_key().as_der().expect("DER").as_ref().to_vec()
            }
            Self::Es256(pair) | Self::Es384(pair) => {
                pair.public_key().as_der().expect("DER").as_ref().to_vec()
            }
            Self::EdDsa(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            _ => panic!("a secret has no public part"),
        };
        let text = STANDARD.encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    /// The public key as a JWK.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rs256(pair) | Self::Ps256(pair) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA", "kid": kid,
                    "n": base64url(public.modulus().big_endian_without_leading_zero()),
                    "e": base64url(public.exponent().big_endian_without_leading_zero()),
                })
            }
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
                json!({"kty": "EC", "kid": kid, "crv": "P-256", "x": x, "y": y})
            }
            Self::EdDsa(pair) => {
                let x = base64url(pair.public_key());
                json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": x})
            }
            _ => panic!("not needed"),
        }
    }

    /// A token with this header and this text of claims.
    pub(crate) fn sign_text(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims));
        format!("{signed}.{}", base64url(self.signature(signed.as_bytes())))
    }

    /// A token with an ordinary header.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "typ": "JWT"});
        self.sign_text(&header, &claims.to_string())
    }

    /// A token that names its key.
    pub(crate) fn sign_as(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": kid});
        self.sign_text(&header, &claims.to_string())
    }
}

/// A shared secret, long enough for every hash.
pub(crate) fn secret() -> Vec<u8> {
    vec![b's'; 64]
}

/// Claims that are accepted, with `changes` over them; `null` takes a claim away.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "api", "sub": "42", "role": "alice", "db_name": "app",
        "iat": NOW - 10, "exp": NOW + 600, "jti": "t1",
    });
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// An issuer with these keys, and `changes` over its configuration.
pub(crate) fn issuer(keys: &Value, changes: &Value) -> IssuerConfig {
    let mut config = json!({"name": "idp", "issuer": ISSUER, "audiences": ["api"], "keys": keys});
    for (name, value) in changes.as_object().expect("an object") {
        config[name] = value.clone();
    }
    serde_json::from_value(config).expect("a valid configuration")
}

/// An issuer with the shared secret.
pub(crate) fn secret_issuer(changes: &Value) -> IssuerConfig {
    let secret = String::from_utf8(secret()).expect("text");
    issuer(&json!({ "shared_secret": secret }), changes)
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

pub(crate) fn fixed_clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::new(at(NOW)))
}

/// A verifier and its clock.
pub(crate) struct Bench {
    pub(crate) verifier: Verifier,
    pub(crate) clock: Arc<FixedClock>,
}

impl Bench {
    pub(crate) fn new(issuers: &[IssuerConfig]) -> Self {
        Self::with(issuers, VerifierOptions::default())
    }

    pub(crate) fn with(issuers: &[IssuerConfig], options: VerifierOptions) -> Self {
        let clock = fixed_clock();
        let shared: Arc<dyn Clock> = clock.clone();
        let verifier = Verifier::new(issuers, None, options, &shared).expect("valid issuers");
        Self { verifier, clock }
    }

    pub(crate) async fn verify(&self, bearer: &str) -> Result<Arc<VerifiedToken>, JwtError> {
        self.verifier.verify(bearer, "app", self.clock.now()).await
    }

    /// `None` if the token is accepted.
    pub(crate) async fn code(&self, bearer: &str) -> Option<ErrorCode> {
        self.verify(bearer).await.err().map(|error| error.code())
    }
}
