//! The keys of one issuer at one moment.

use super::error::JwtError;
use super::key::VerifyKey;

/// Keys, and a number that changes whenever they do.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    pub(crate) keys: Vec<VerifyKey>,
    pub(crate) generation: u64,
}

impl KeySet {
    /// The key that a token with this `kid` was signed with.
    pub(crate) fn select(&self, kid: Option<&str>) -> Result<&VerifyKey, JwtError> {
        match (self.keys.as_slice(), kid) {
            // The only key, where the token or the key has no name.
            ([key], None) => Ok(key),
            ([key], Some(_)) if key.kid.is_none() => Ok(key),
            (keys, Some(kid)) => keys
                .iter()
                .find(|key| key.kid.as_deref() == Some(kid))
                .ok_or(JwtError::KidUnknown),
            ([], None) => Err(JwtError::KidUnknown),
            (_, None) => Err(JwtError::KidMissing),
        }
    }
}
