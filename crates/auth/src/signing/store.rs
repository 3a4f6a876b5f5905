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
    /// When it was made.
    pub created_at: Timestamp,
    /// Not retired.
    pub active: bool,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey")
            .field("kid", &self.kid)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// Where signing keys are kept.
pub trait SigningKeyStore: Send + Sync + fmt::Debug + 'static {
    /// All keys that are not forgotten yet: the active ones, and those retired a short while ago.
    fn load(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>>;

    /// Stores a new active key.
    fn store<'a>(&'a self, key: &'a StoredKey) -> BoxFuture<'a, Result<(), StoreError>>;
}
