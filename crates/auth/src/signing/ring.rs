//! All keys at one moment.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::key::SigningKey;
use crate::jwt::key_set::KeySet;

/// How long a new key is published before it signs, if there is another one that can: longer
/// than others keep our key set.
pub const STANDBY_FOR: SignedDuration = SignedDuration::from_mins(10);

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

/// The keys that opened, newest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    active: Vec<Arc<SigningKey>>,
    retired: Vec<Arc<SigningKey>>,
    /// For verifying.
    pub(super) verifying: Arc<KeySet>,
    /// The published document.
    pub(super) jwks: Arc<str>,
}

impl Ring {
    pub(super) fn new(
        mut active: Vec<Arc<SigningKey>>,
        retired: Vec<Arc<SigningKey>>,
        previous: &KeySet,
    ) -> Self {
        active.sort_by_key(|key| Reverse(key.created_at));
        let all = || active.iter().chain(&retired);
        let keys: Vec<_> = all().filter_map(|key| key.verify_key()).collect();
        let names = |keys: &[crate::jwt::key::VerifyKey]| -> Vec<_> {
            keys.iter().map(|key| key.kid.clone()).collect()
        };
        let changed = names(&keys) != names(&previous.keys);
        let generation = previous.generation + u64::from(changed);
        let published: Vec<_> = all().map(|key| key.public_jwk()).collect();
        let jwks = json!({ "keys": published }).to_string().into();
        Self {
            active,
            retired,
            verifying: Arc::new(KeySet { keys, generation }),
            jwks,
        }
    }

    /// The key that signs at `now`: the newest that has been published long enough, else the
    /// oldest there is.
    pub(super) fn signing(&self, now: Timestamp) -> Option<&Arc<SigningKey>> {
        self.active
            .iter()
            .find(|key| now.duration_since(key.created_at) >= STANDBY_FOR)
            .or(self.active.last())
    }

    /// Every key and what it is for at `now`.
    pub(super) fn states(&self, now: Timestamp) -> Vec<(String, KeyState)> {
        let signing = self.signing(now).map(|key| key.kid().to_owned());
        let mut seen = false;
        let active = self.active.iter().map(|key| {
            let signs = Some(key.kid()) == signing.as_deref();
            seen |= signs;
            let state = match (signs, seen) {
                (true, _) => KeyState::Active,
                (false, false) => KeyState::Standby,
                (false, true) => KeyState::Retired,
            };
            (key.kid().to_owned(), state)
        });
        let mut states: Vec<_> = active.collect();
        states.extend(
            self.retired
                .iter()
                .map(|key| (key.kid().to_owned(), KeyState::Retired)),
        );
        states
    }
}
