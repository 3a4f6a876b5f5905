//! Signatures of calls to job callbacks, for our receiver and for one of your own; and of the requests
//! that workers send to functions, for functions.
//!
//! [`Action`] and [`callback_url`] say where a call goes, [`sign`] what its headers are, and
//! [`Verifier`] whether they are right. `docs/reference/callbacks.md` has the bytes, for other
//! languages.

pub mod legacy;
mod request;
mod signature;
mod verifier;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::issuer::Secret;

pub use request::{FunctionRequest, sign_request};
pub use signature::{Call, SignError, sign};
pub use verifier::{Accepted, Presented, Refused, Verifier, VerifierError};

/// The header with the signature: `v1,<key id>,<64 hexadecimal digits>`.
pub const SIGNATURE_HEADER: &str = "Rolegate-Signature";
/// The header with the time of signing, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "Rolegate-Timestamp";
/// Where callbacks are unless it is configured otherwise.
pub const DEFAULT_PREFIX: &str = "/api/callbacks";
/// How far the time of signing may be from the receiver's, either way.
pub const DEFAULT_SKEW: std::time::Duration = std::time::Duration::from_mins(5);

/// What a call says about the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is done.
    Complete,
    /// The attempt failed.
    Fail,
    /// Somebody is still at it.
    Heartbeat,
    /// The next step can begin.
    Resume,
}

impl Action {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Complete, Self::Fail, Self::Heartbeat, Self::Resume];

    /// As in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Fail => "fail",
            Self::Heartbeat => "heartbeat",
            Self::Resume => "resume",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// It is none of the actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected complete, fail, heartbeat or resume")]
pub struct UnknownAction;

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or(UnknownAction)
    }
}

/// A secret of 32 bytes with the name it goes by.
#[derive(Clone)]
pub struct Key {
    id: String,
    secret: Zeroizing<[u8; 32]>,
}

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The id would not fit into a header.
    #[error("a key id has 1 to 64 letters, digits, dots, hyphens and underscores")]
    Id,
    /// The secret is not what it has to be.
    #[error("a callback key is 64 hexadecimal digits; make one with: openssl rand -hex 32")]
    Secret,
}

impl Key {
    /// A key of 32 bytes.
    pub fn new(id: &str, secret: [u8; 32]) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(secret);
        if !is_key_id(id) {
            return Err(KeyError::Id);
        }
        Ok(Self {
            id: id.to_owned(),
            secret,
        })
    }

    /// A key of 64 hexadecimal digits, as files have it.
    pub fn from_hex(id: &str, secret: &str) -> Result<Self, KeyError> {
        let secret = from_hex(secret.trim()).ok_or(KeyError::Secret)?;
        Self::new(id, secret)
    }

    /// The same, from the configuration.
    pub fn from_secret(id: &str, secret: &Secret) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(secret.expose()).map_err(|_| KeyError::Secret)?;
        Self::from_hex(id, text)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*self.secret)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn is_key_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// 32 bytes of 64 digits, of either case.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Where a callback is answered: `base` without its last `/`, `prefix` with one in front (or
/// nothing), the id, the action.
pub fn callback_url(base: &str, prefix: &str, id: &str, action: Action) -> String {
    let base = base.trim_end_matches('/');
    let prefix = normal_prefix(prefix);
    format!("{base}{prefix}/{id}/{action}")
}

/// A prefix with a `/` in front and none behind, or nothing.
pub fn normal_prefix(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("/{prefix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_slash_between_their_parts() {
        for (base, prefix) in [
            ("https://a.example", "/api/callbacks"),
            ("https://a.example/", "api/callbacks"),
            ("https://a.example//", "/api/callbacks/"),
        ] {
            assert_eq!(
                callback_url(base, prefix, "i", Action::Fail),
                "https://a.example/api/callbacks/i/fail"
            );
        }
        for prefix in ["", "/"] {
            let url = callback_url("https://a.example/x/", prefix, "i", Action::Resume);
            assert_eq!(url, "https://a.example/x/i/resume");
        }
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let key = Key::from_hex("2026-11", &"Ab".repeat(32)).expect("a key");
        assert_eq!(*key.secret, [0xab; 32]);
        assert!(!format!("{key:?}").to_lowercase().contains("ab"), "{key:?}");
        for id in ["", "a,b", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(Key::new(id, [0; 32]).err(), Some(KeyError::Id), "{id}");
        }
        for secret in [
            "",
            "ab",
            &"g0".repeat(32),
            &"é".repeat(32),
            &"+1".repeat(32),
        ] {
            let refused = Key::from_hex("a", secret).err();
            assert_eq!(refused, Some(KeyError::Secret), "{secret}");
        }
    }
}
