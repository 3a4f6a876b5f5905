//! Where signing keys are kept.

use std::error::Error;
use std::fmt;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// Why the store did not do it; whatever its own error is.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// A key as it is stored: `rolegate.signing_keys()` and `rolegate.store_signing_key(...)`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// `ES256`.
    pub algorithm: String,
    /// The public key as a JWK, for people and other programs; nothing here believes it.
    pub public_jwk: String,
    /// The private key, sealed. A key without it is not used, for verifying neither.
    pub sealed_private: Option<Vec<u8>>,
    /// When it was published.
    pub created_at: Timestamp,
    /// When it begins to sign. The store decides, by one clock for all processes.
    pub signs_from: Timestamp,
    /// When another key signs in its place; it verifies for [`LONGEST_TOKEN`] more.
    ///
    /// [`LONGEST_TOKEN`]: super::LONGEST_TOKEN
    pub signs_until: Option<Timestamp>,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey")
            .field("kid", &self.kid)
            .field("signs_from", &self.signs_from)
            .field("signs_until", &self.signs_until)
            .finish_non_exhaustive()
    }
}

/// Where signing keys are kept.
pub trait SigningKeyStore: Send + Sync + fmt::Debug + 'static {
    /// All keys that are not forgotten yet: those that sign or will, and those that signed tokens
    /// which may still be valid.
    fn load(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>>;

    /// Publishes a new key and says when it signs: after a while, or at once if nothing signs now.
    /// With `only_if_wanted` nothing happens if there is a key without an end, and the answer is
    /// `false`: another process was first.
    fn store<'a>(
        &'a self,
        key: &'a StoredKey,
        only_if_wanted: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
}
