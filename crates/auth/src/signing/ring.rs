//! All keys at one moment.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::key::SigningKey;
use crate::jwt::key::VerifyKey;
use crate::jwt::key_set::KeySet;

/// The longest life of a token of ours, and so how long a key verifies after it has signed.
/// `rolegate.signing_keys()` forgets keys after the same time.
pub const LONGEST_TOKEN: SignedDuration = SignedDuration::from_hours(24);

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and does not sign yet.
    Standby,
    /// Signs.
    Active,
    /// Verifies what it signed.
    Retired,
}

/// A key and the time in which it signs.
#[derive(Debug, Clone)]
pub(super) struct RingKey {
    pub(super) key: Arc<SigningKey>,
    pub(super) signs_from: Timestamp,
    pub(super) signs_until: Option<Timestamp>,
}

impl RingKey {
    /// It signs or will.
    fn is_current(&self, now: Timestamp) -> bool {
        self.signs_until.is_none_or(|end| end > now)
    }

    /// When none of its tokens is valid any more.
    fn forgotten_at(&self) -> Option<Timestamp> {
        self.signs_until?.checked_add(LONGEST_TOKEN).ok()
    }
}

/// The keys that opened, newest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    keys: Vec<RingKey>,
    /// For verifying.
    pub(super) verifying: Arc<KeySet>,
    /// The published document.
    pub(super) jwks: Arc<str>,
}

impl Ring {
    pub(super) fn new(mut keys: Vec<RingKey>, now: Timestamp, previous: &KeySet) -> Self {
        keys.retain(|key| key.forgotten_at().is_none_or(|end| end > now));
        keys.sort_by_key(|key| Reverse(key.signs_from));
        let verifying: Vec<_> = keys.iter().filter_map(|key| key.key.verify_key()).collect();
        let names =
            |keys: &[VerifyKey]| -> Vec<_> { keys.iter().map(|key| key.kid.clone()).collect() };
        let changed = names(&verifying) != names(&previous.keys);
        let generation = previous.generation + u64::from(changed);
        let published: Vec<_> = keys.iter().map(|key| key.key.public_jwk()).collect();
        let jwks = json!({ "keys": published }).to_string().into();
        Self {
            keys,
            verifying: Arc::new(KeySet {
                keys: verifying,
                generation,
            }),
            jwks,
        }
    }

    /// This ring without the keys whose tokens have all ended; `None` if there are none such.
    pub(super) fn pruned(&self, now: Timestamp) -> Option<Self> {
        let ended = |key: &RingKey| key.forgotten_at().is_some_and(|end| end <= now);
        self.keys
            .iter()
            .any(ended)
            .then(|| Self::new(self.keys.clone(), now, &self.verifying))
    }

    /// The key that signs at `now`. If the time of none has begun, because the one before is gone
    /// or this clock is behind the store's, the first that waits.
    pub(super) fn signing(&self, now: Timestamp) -> Option<&Arc<SigningKey>> {
        let current = || self.keys.iter().filter(|key| key.is_current(now));
        current()
            .find(|key| key.signs_from <= now)
            .or_else(|| current().next_back())
            .map(|key| &key.key)
    }

    /// There is a key that is to stay.
    pub(super) fn has_lasting(&self) -> bool {
        self.keys.iter().any(|key| key.signs_until.is_none())
    }

    /// Every key and what it is for at `now`.
    pub(super) fn states(&self, now: Timestamp) -> Vec<(String, KeyState)> {
        let signing = self.signing(now).map(|key| key.kid());
        let state = |key: &RingKey| {
            if Some(key.key.kid()) == signing {
                KeyState::Active
            } else if key.is_current(now) && key.signs_from > now {
                KeyState::Standby
            } else {
                KeyState::Retired
            }
        };
        self.keys
            .iter()
            .map(|key| (key.key.kid().to_owned(), state(key)))
            .collect()
    }
}
