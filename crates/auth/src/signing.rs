//! Our own tokens: rotating keys, sealed at rest, published as a key set.
//!
//! A key is trusted only if its private part opens with the sealing key and fits its name: a row
//! that somebody wrote into the table without that key verifies nothing.

mod key;
mod keys;
mod ring;
mod seal;
mod store;

pub use key::SigningKey;
pub use keys::{OwnToken, SignedToken, SigningError, SigningKeys};
pub use ring::{KeyState, LONGEST_TOKEN};
pub use seal::{SealError, SealingKey};
pub use store::{SigningKeyStore, StoreError, StoredKey};

/// The claim with the OID of the role.
pub const ROLE_OID_CLAIM: &str = "rolegate_role_oid";
/// The claim with the cluster's `system_identifier`, as a text: it has up to 20 digits.
pub const SYSTEM_IDENTIFIER_CLAIM: &str = "rolegate_system_identifier";
