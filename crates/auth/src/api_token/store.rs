//! What the database knows about an API token.

use std::fmt;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

use crate::signing::StoreError;

/// A row of `rolegate.find_api_token(...)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenRecord {
    /// Its id.
    pub token_id: Uuid,
    /// The role's name when it was minted.
    pub role_name: String,
    /// The role's OID when it was minted.
    pub role_oid: u32,
    /// Scopes as JSON text.
    pub scopes: Option<String>,
    /// When it was minted.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Where API tokens are looked up.
pub trait ApiTokenStore: Send + Sync + fmt::Debug + 'static {
    /// The token with this SHA-256, revoked or expired ones too.
    fn find<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiTokenRecord>, StoreError>>;
}
