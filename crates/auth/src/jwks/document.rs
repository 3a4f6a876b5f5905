//! The JSON Web Key Set document (RFC 7517).

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use crate::encoding::from_base64url;
use crate::jwt::key::{KeyError, VerifyKey};

/// The most keys of one set that are looked at.
const MAX_KEYS: usize = 64;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The members of a key that are read. Private parts are not: nothing here could use them.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A key that was left out, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Which one of the document, from 0.
    pub(crate) index: usize,
    /// Its name, for the log.
    pub(crate) kid: Option<String>,
    /// Why.
    pub(crate) reason: KeyError,
}

/// The usable keys of a document, and the others.
pub(crate) fn parse(body: &[u8]) -> Result<(Vec<VerifyKey>, Vec<Skipped>), serde_json::Error> {
    let document: Document = serde_json::from_slice(body)?;
    let mut names = HashSet::new();
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (index, value) in document.keys.into_iter().take(MAX_KEYS).enumerate() {
        let kid = value.get("kid").and_then(Value::as_str).map(str::to_owned);
        match parse_key(value) {
            Ok(key) if key.kid.is_some() && !names.insert(key.kid.clone()) => {
                skipped.push(Skipped {
                    index,
                    kid,
                    reason: KeyError::Repeated,
                });
            }
            Ok(key) => keys.push(key),
            Err(reason) => skipped.push(Skipped { index, kid, reason }),
        }
    }
    Ok((keys, skipped))
}

/// One key of a document.
fn parse_key(value: Value) -> Result<VerifyKey, KeyError> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| KeyError::Malformed)?;
    let verifies = jwk
        .key_ops
        .as_ref()
        .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if jwk
        .purpose
        .as_deref()
        .is_some_and(|purpose| purpose != "sig")
        || !verifies
    {
        return Err(KeyError::Purpose);
    }
    let curve = jwk.crv.as_deref().unwrap_or_default();
    let key = match (jwk.kty.as_str(), curve) {
        ("RSA", _) => VerifyKey::rsa(&bytes(jwk.n.as_deref())?, &bytes(jwk.e.as_deref())?)?,
        ("EC", "P-256") => ec_point(&jwk, 32)?,
        ("EC", "P-384") => ec_point(&jwk, 48)?,
        ("OKP", "Ed25519") => VerifyKey::ed25519(&bytes(jwk.x.as_deref())?)?,
        // A shared secret has no place in a public document; whoever can read it can sign.
        (other, curve) => {
            let what = format!("{other} {curve}");
            return Err(KeyError::Unsupported(
                what.trim().chars().take(32).collect(),
            ));
        }
    };
    let key = match jwk.alg.as_deref() {
        Some(algorithm) => key.only_for(algorithm)?,
        None => key,
    };
    Ok(key.named(jwk.kid))
}

fn bytes(text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    text.and_then(from_base64url).ok_or(KeyError::Malformed)
}

fn ec_point(jwk: &Jwk, size: usize) -> Result<VerifyKey, KeyError> {
    let (x, y) = (bytes(jwk.x.as_deref())?, bytes(jwk.y.as_deref())?);
    if x.len() != size || y.len() != size {
        return Err(KeyError::Malformed);
    }
    VerifyKey::ec_point(&[&[4], x.as_slice(), y.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::encoding::base64url;

    fn reason(key: Value) -> KeyError {
        parse_key(key).expect_err("unusable")
    }

    #[test]
    fn unusable_keys_are_left_out_and_the_others_stay() {
        let rsa = |bytes: usize| base64url(&vec![0xff; bytes]);
        let good = json!({"kty": "RSA", "kid": "good", "n": rsa(256), "e": "AQAB"});
        let document = json!({"keys": [
            good,
            {"kty": "RSA", "kid": "weak", "n": rsa(128), "e": "AQAB"},
            {"kty": "RSA", "kid": "enc", "use": "enc", "n": rsa(256), "e": "AQAB"},
            {"kty": "oct", "kid": "secret", "k": "AAAA"},
            {"kty": "new", "kid": "unknown"},
            {"kid": "no type"},
            "not an object",
            {"kty": "RSA", "kid": "good", "n": rsa(384), "e": "AQAB"},
        ]});
        let (keys, skipped) = parse(document.to_string().as_bytes()).expect("a document");
        let names: Vec<_> = keys.iter().map(|key| key.kid.as_deref()).collect();
        assert_eq!(names, [Some("good")]);
        let reasons: Vec<_> = skipped
            .iter()
            .map(|skipped| skipped.reason.clone())
            .collect();
        assert_eq!(
            reasons,
            [
                KeyError::RsaSize(1024),
                KeyError::Purpose,
                KeyError::Unsupported("oct".into()),
                KeyError::Unsupported("new".into()),
                KeyError::Malformed,
                KeyError::Malformed,
                KeyError::Repeated,
            ]
        );
    }

    #[test]
    fn a_key_cannot_claim_an_algorithm_of_another_type() {
        let n = base64url(&[0xff; 256]);
        for alg in ["HS256", "none", "ES256", "RSA-OAEP", "rs256"] {
            let key = json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": alg});
            assert!(matches!(reason(key), KeyError::Unsupported(_)), "{alg}");
        }
        let key = parse_key(json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "PS256"}));
        let key = key.expect("usable");
        assert!(key.allowed("PS256").is_some());
        assert!(key.allowed("RS256").is_none());
    }

    #[test]
    fn degenerate_exponents_and_points_are_refused() {
        let n = base64url(&[0xff; 256]);
        for e in ["", "AQ", "AAE", "AAAAAQ", "AA", "Ag", "AAEAAg"] {
            assert_eq!(
                reason(json!({"kty": "RSA", "n": n, "e": e})),
                KeyError::Malformed,
                "{e}"
            );
        }
        let short = base64url(&[1; 31]);
        let whole = base64url(&[1; 32]);
        let key = json!({"kty": "EC", "crv": "P-256", "x": short, "y": whole});
        assert_eq!(reason(key), KeyError::Malformed);
        assert_eq!(
            reason(json!({"kty": "OKP", "crv": "Ed25519", "x": short})),
            KeyError::Malformed
        );
    }
}
