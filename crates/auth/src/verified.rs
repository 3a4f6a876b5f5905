//! What a verified credential says, before anybody asked whether its role may be used.

use std::sync::Arc;

use jiff::Timestamp;
use rolegate_model::{CredentialKind, RoleName, Scopes};

/// The issuer of everything that is signed or stored by this installation.
pub const OWN_ISSUER: &str = "rolegate";

/// A credential whose signature, hash or absence was checked.
///
/// It says which role is meant; [`crate::admit`] says whether that role may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The role it names.
    pub role: RoleName,
    /// The claims as JSON text, an object: the token's own, with the text of every number kept,
    /// and `role` set to the role's name.
    pub claims: Arc<str>,
    /// `iss`; `rolegate` for API tokens; `anonymous` without a credential.
    pub issuer: Arc<str>,
    /// `sub`.
    pub subject: Option<Arc<str>>,
    /// `jti`, the API token's id, or a digest of the bearer. Never the bearer.
    pub token_id: Arc<str>,
    /// `iat`, or when the API token was minted.
    pub issued_at: Option<Timestamp>,
    /// `exp`, or when the API token ends.
    pub expires_at: Option<Timestamp>,
    /// The kind of credential.
    pub kind: CredentialKind,
    /// Narrows what the role could do.
    pub scopes: Option<Arc<Scopes>>,
    /// Who vouches for it, and what it says about the role's identity.
    pub origin: Origin,
}

/// Who vouches for a credential, and what it says about the identity of its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: there was no credential.
    Anonymous,
    /// An issuer outside. It knows roles by name only.
    External,
    /// Our own signing key: the role was this one when the token was signed.
    Own {
        /// OID of the role.
        role_oid: u32,
        /// The cluster's `system_identifier`.
        system_identifier: u64,
    },
    /// A row of our table in the role's own cluster.
    Stored {
        /// OID of the role when the token was minted.
        role_oid: u32,
    },
}
