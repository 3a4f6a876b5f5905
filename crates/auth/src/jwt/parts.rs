//! A JWT taken apart, before anything is believed.

use super::error::JwtError;
use super::json::Json;
use crate::encoding::from_base64url;

/// The longest bearer that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest `kid`.
const MAX_KID_BYTES: usize = 256;

/// A JWT in compact form, decoded and not verified.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// `alg` of the header: only compared with what the key allows.
    pub(crate) algorithm: String,
    /// `kid` of the header.
    pub(crate) kid: Option<String>,
    /// What the signature is over.
    pub(crate) signed: &'a str,
    /// The signature, encoded.
    pub(crate) signature: &'a str,
    /// The text of the claims.
    pub(crate) claims_text: String,
    /// The claims.
    pub(crate) claims: Json,
}

impl<'a> Parts<'a> {
    /// Takes `token` apart. Of the header, `alg`, `kid`, `typ` and `crit` are read; whatever says
    /// where keys are (`jku`, `jwk`, `x5u`, `x5c`) is not.
    pub(crate) fn of(token: &'a str) -> Result<Self, JwtError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwtError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Shape)?;
        let (header, payload) = signed.split_once('.').ok_or(JwtError::Shape)?;
        if payload.contains('.') || signature.is_empty() {
            return Err(JwtError::Shape);
        }
        let header = from_base64url(header).ok_or(JwtError::Shape)?;
        let header = Json::parse(&header).map_err(JwtError::Json)?;
        if header.member("crit").is_some() {
            return Err(JwtError::Critical);
        }
        check_type(&header)?;
        let algorithm = header
            .member("alg")
            .and_then(Json::text)
            .ok_or(JwtError::Algorithm)?;
        let kid = match header.member("kid") {
            None => None,
            Some(Json::Text(kid)) if kid.len() <= MAX_KID_BYTES => Some(kid.clone()),
            Some(_) => return Err(JwtError::Shape),
        };

        let payload = from_base64url(payload).ok_or(JwtError::Shape)?;
        let claims_text = String::from_utf8(payload).map_err(|_| JwtError::Shape)?;
        let claims = Json::parse(claims_text.as_bytes()).map_err(JwtError::Json)?;
        if !matches!(claims, Json::Object(_)) {
            return Err(JwtError::Shape);
        }
        let algorithm = algorithm.to_owned();
        Ok(Self {
            algorithm,
            kid,
            signed,
            signature,
            claims_text,
            claims,
        })
    }
}

/// A token made for another purpose (`logout+jwt`, `dpop+jwt`, ...) is no credential, even with
/// the right signature.
fn check_type(header: &Json) -> Result<(), JwtError> {
    let Some(kind) = header.member("typ") else {
        return Ok(());
    };
    let kind = kind.text().ok_or(JwtError::Type)?.to_ascii_lowercase();
    match kind.strip_prefix("application/").unwrap_or(&kind) {
        "jwt" | "at+jwt" => Ok(()),
        _ => Err(JwtError::Type),
    }
}
