//! API tokens as they are used: looked up once, remembered until something changes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use rolegate_model::{CredentialKind, ErrorCode, RoleName, RoleNameError, Scopes};
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::store::{ApiTokenRecord, ApiTokenStore};
use super::text::{ApiToken, NotOurs};
use crate::signing::StoreError;
use crate::verified::{OWN_ISSUER, Origin, VerifiedToken};

/// Bounds of [`ApiTokens`].
#[derive(Debug, Clone, Copy)]
pub struct ApiTokenOptions {
    /// Tokens that are remembered.
    pub known: u64,
    /// Hashes remembered as being no tokens. They are apart, so that made-up tokens cannot push
    /// real ones out.
    pub unknown: u64,
    /// Look-ups at the same time; the others wait.
    pub lookups: usize,
    /// After this time a token is looked up again even if nobody said that something changed.
    pub max_age: SignedDuration,
    /// Also look up bearers of 64 hexadecimal digits, which were imported from the peer.
    pub imported: bool,
}

impl Default for ApiTokenOptions {
    fn default() -> Self {
        Self {
            known: 10_000,
            unknown: 10_000,
            lookups: 4,
            max_age: SignedDuration::from_secs(60),
            imported: false,
        }
    }
}

/// Why an API token is refused.
#[derive(Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// Shape or checksum are wrong.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// The database does not know it.
    #[error("there is no such API token")]
    Unknown,
    /// It was revoked.
    #[error("the API token was revoked")]
    Revoked,
    /// It has ended.
    #[error("the API token has expired")]
    Expired,
    /// Its row cannot be used; nothing is guessed.
    #[error("the scopes of the API token cannot be read")]
    Scopes(#[source] serde_json::Error),
    /// Its role has a name that is never used.
    #[error("the role of the API token cannot be used")]
    Role(#[source] RoleNameError),
    /// The database cannot be asked.
    #[error("the API token cannot be looked up")]
    Store(#[source] StoreError),
}

impl ApiTokenError {
    /// The code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotOurs(_) | Self::Unknown | Self::Scopes(_) => ErrorCode::TokenInvalid,
            Self::Revoked => ErrorCode::TokenRevoked,
            Self::Expired => ErrorCode::TokenExpired,
            Self::Role(_) => ErrorCode::RoleReserved,
            Self::Store(_) => ErrorCode::DatabaseUnavailable,
        }
    }
}

/// What is remembered about a hash.
#[derive(Debug, Clone)]
struct Remembered<T> {
    what: T,
    at: Timestamp,
    generation: u64,
}

/// The API tokens of one database.
#[derive(Debug)]
pub struct ApiTokens {
    store: Arc<dyn ApiTokenStore>,
    options: ApiTokenOptions,
    known: Cache<[u8; 32], Remembered<Known>>,
    unknown: Cache<[u8; 32], Remembered<()>>,
    generation: AtomicU64,
    lookups: Semaphore,
    used: Mutex<HashSet<Uuid>>,
}

#[derive(Debug, Clone)]
enum Known {
    Usable(Uuid, Arc<VerifiedToken>),
    Revoked,
}

impl ApiTokens {
    /// The tokens of `store`.
    pub fn new(store: Arc<dyn ApiTokenStore>, options: ApiTokenOptions) -> Self {
        Self {
            store,
            options,
            known: Cache::new(options.known),
            unknown: Cache::new(options.unknown),
            generation: AtomicU64::new(0),
            lookups: Semaphore::new(options.lookups.max(1)),
            used: Mutex::default(),
        }
    }

    /// Whether `bearer` is to be looked at here, and not as a JWT.
    pub fn is_meant(&self, bearer: &str) -> bool {
        ApiToken::is_meant(bearer)
            || (self.options.imported && ApiToken::parse_imported(bearer).is_ok())
    }

    /// Verifies a bearer.
    pub async fn verify(
        &self,
        bearer: &str,
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, ApiTokenError> {
        let token = match ApiToken::parse(bearer) {
            Err(NotOurs) if self.options.imported => ApiToken::parse_imported(bearer)?,
            parsed => parsed?,
        };
        let known = match self.remembered(token.hash(), now) {
            Some(answer) => answer?,
            None => self.look_up(token.hash(), now).await?,
        };
        let Known::Usable(id, verified) = known else {
            return Err(ApiTokenError::Revoked);
        };
        if verified.expires_at.is_some_and(|end| now >= end) {
            return Err(ApiTokenError::Expired);
        }
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
        Ok(verified)
    }

    /// Forgets everything: the epoch changed, so a token may have been minted or revoked. A
    /// look-up that is under way does not bring its older answer back.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.known.invalidate_all();
        self.unknown.invalidate_all();
    }

    /// The ids of the tokens used since the last time, for `rolegate.touch_api_tokens(...)`.
    pub fn take_used(&self) -> Vec<Uuid> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *used).into_iter().collect()
    }

    fn remembered(&self, hash: &[u8; 32], now: Timestamp) -> Option<Result<Known, ApiTokenError>> {
        if let Some(known) = self.known.get(hash)
            && self.holds(&known, now)
        {
            return Some(Ok(known.what));
        }
        let unknown = self.unknown.get(hash)?;
        self.holds(&unknown, now)
            .then_some(Err(ApiTokenError::Unknown))
    }

    fn holds<T>(&self, remembered: &Remembered<T>, now: Timestamp) -> bool {
        let age = now.duration_since(remembered.at);
        remembered.generation == self.generation.load(Ordering::SeqCst)
            && !age.is_negative()
            && age < self.options.max_age
    }

    async fn look_up(&self, hash: &[u8; 32], now: Timestamp) -> Result<Known, ApiTokenError> {
        let _permit = self
            .lookups
            .acquire()
            .await
            .expect("the semaphore is never closed");
        // Somebody with the same token may have been in front.
        if let Some(answer) = self.remembered(hash, now) {
            return answer;
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let record = self.store.find(hash).await.map_err(ApiTokenError::Store)?;
        let Some(record) = record else {
            self.unknown.insert(
                *hash,
                Remembered {
                    what: (),
                    at: now,
                    generation,
                },
            );
            return Err(ApiTokenError::Unknown);
        };
        let known = known(&record)?;
        self.known.insert(
            *hash,
            Remembered {
                what: known.clone(),
                at: now,
                generation,
            },
        );
        Ok(known)
    }
}

fn known(record: &ApiTokenRecord) -> Result<Known, ApiTokenError> {
    if record.revoked {
        return Ok(Known::Revoked);
    }
    let role = RoleName::new(&record.role_name).map_err(ApiTokenError::Role)?;
    let scopes: Option<Scopes> = match &record.scopes {
        Some(text) => Some(serde_json::from_str(text).map_err(ApiTokenError::Scopes)?),
        None => None,
    };
    let mut claims = json!({
        "iss": OWN_ISSUER,
        "sub": role.as_str(),
        "role": role.as_str(),
        "jti": record.token_id,
        "iat": record.created_at.as_second(),
    });
    if let Some(end) = record.expires_at {
        claims["exp"] = end.as_second().into();
    }
    let verified = VerifiedToken {
        claims: claims.to_string().into(),
        issuer: OWN_ISSUER.into(),
        subject: Some(role.as_str().into()),
        role,
        token_id: record.token_id.to_string().into(),
        issued_at: Some(record.created_at),
        expires_at: record.expires_at,
        kind: CredentialKind::ApiToken,
        scopes: scopes.map(Arc::new),
        origin: Origin::Stored {
            role_oid: record.role_oid,
        },
    };
    Ok(Known::Usable(record.token_id, Arc::new(verified)))
}

#[cfg(test)]
mod tests;
