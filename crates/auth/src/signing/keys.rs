//! The keys in use: loaded, rotated, signing.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use rolegate_model::{Clock, RoleIdentity};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::key::SigningKey;
use super::ring::{KeyState, LONGEST_TOKEN, Ring, RingKey};
use super::seal::{SealError, SealingKey};
use super::store::{SigningKeyStore, StoreError};
use super::{ROLE_OID_CLAIM, SYSTEM_IDENTIFIER_CLAIM};
use crate::jwt::key_set::KeySet;

/// Why there is no key, or no token.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The store failed.
    #[error("the signing keys cannot be read or written")]
    Store(#[source] StoreError),
    /// None of the active keys opens.
    #[error("no active signing key opens with this sealing key")]
    Sealed(#[source] SealError),
    /// There is no key yet.
    #[error("there is no signing key")]
    NoKey,
    /// A key could not be made or used.
    #[error("signing failed")]
    Failed(#[source] SealError),
}

/// What a token of ours says.
#[derive(Debug, Clone, Copy)]
pub struct OwnToken<'a> {
    /// Who it is for: the role that logged in, as it is now.
    pub role: &'a RoleIdentity,
    /// The one database it is good for.
    pub database: &'a str,
    /// How long it is good for; at least a second, at most [`LONGEST_TOKEN`].
    pub lifetime: SignedDuration,
}

/// A token that was signed.
pub struct SignedToken {
    /// The bearer.
    pub token: SecretString,
    /// Its `jti`.
    pub token_id: String,
    /// Its `exp`.
    pub expires_at: Timestamp,
    /// Whole seconds until then.
    pub expires_in: i64,
}

impl fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedToken")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// Our signing keys.
#[derive(Debug)]
pub struct SigningKeys {
    issuer: Arc<str>,
    store: Arc<dyn SigningKeyStore>,
    sealing: SealingKey,
    clock: Arc<dyn Clock>,
    ring: ArcSwap<Ring>,
    /// Loads one after the other, so that an older answer cannot replace a newer one.
    loading: tokio::sync::Mutex<()>,
}

impl SigningKeys {
    /// Loads the keys of `store`. `issuer` is the `iss` of our tokens, `rolegate` by default.
    ///
    /// An empty store is no error: [`Self::ensure_key`] makes the first key.
    pub async fn open(
        issuer: &str,
        store: Arc<dyn SigningKeyStore>,
        sealing: SealingKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, SigningError> {
        let keys = Self {
            issuer: issuer.into(),
            store,
            sealing,
            clock,
            ring: ArcSwap::from_pointee(Ring::default()),
            loading: tokio::sync::Mutex::default(),
        };
        keys.reload().await?;
        Ok(Arc::new(keys))
    }

    /// Loads the keys again: after a rotation by somebody else, and when the epoch changed.
    /// On an error the keys stay as they were.
    pub async fn reload(&self) -> Result<(), SigningError> {
        let _one_at_a_time = self.loading.lock().await;
        let stored = self.store.load().await.map_err(SigningError::Store)?;
        let now = self.clock.now();
        let mut keys = Vec::new();
        let (mut any_current, mut refused) = (false, None);
        for row in stored {
            let current = row.signs_until.is_none_or(|end| end > now);
            match SigningKey::open(&row, &self.sealing) {
                Ok(key) => {
                    any_current |= current;
                    keys.push(RingKey {
                        key: Arc::new(key),
                        signs_from: row.signs_from,
                        signs_until: row.signs_until,
                    });
                }
                Err(error) => {
                    tracing::warn!(
                        event = "signing_key_refused",
                        kid = row.kid,
                        active = current,
                        reason = %error,
                        "a stored signing key is not used"
                    );
                    refused = refused.or(current.then_some(error));
                }
            }
        }
        if let (false, Some(error)) = (any_current, refused) {
            return Err(SigningError::Sealed(error));
        }
        let ring = Ring::new(keys, now, &self.ring.load().verifying);
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    /// Makes a key if there is none that is to stay: at the beginning, and after
    /// `rolegate.rotate_signing_key()`. Of several processes one makes it.
    pub async fn ensure_key(&self) -> Result<(), SigningError> {
        if self.ring.load().has_lasting() {
            return Ok(());
        }
        self.publish(true).await.map(|_| ())
    }

    /// Makes a new key, which signs after a while, or at once if nothing signs now. Gives its name.
    pub async fn rotate(&self) -> Result<String, SigningError> {
        self.publish(false).await
    }

    async fn publish(&self, only_if_wanted: bool) -> Result<String, SigningError> {
        let (key, stored) =
            SigningKey::generate(&self.sealing, self.clock.now()).map_err(SigningError::Failed)?;
        self.store
            .store(&stored, only_if_wanted)
            .await
            .map_err(SigningError::Store)?;
        // Also if another process was first: its key is the one.
        self.reload().await?;
        Ok(key.kid().to_owned())
    }

    /// The keys of this moment: one whose tokens have all ended is neither published nor believed,
    /// also if nothing made us load the keys again.
    fn current(&self) -> Arc<Ring> {
        let ring = self.ring.load_full();
        let Some(pruned) = ring.pruned(self.clock.now()) else {
            return ring;
        };
        let pruned = Arc::new(pruned);
        // A load that ended in between knows more.
        let before = self.ring.compare_and_swap(&ring, Arc::clone(&pruned));
        if Arc::ptr_eq(&before, &ring) {
            pruned
        } else {
            Arc::clone(&before)
        }
    }

    /// Signs a token.
    pub fn sign(&self, token: &OwnToken<'_>) -> Result<SignedToken, SigningError> {
        let now = self.clock.now();
        let ring = self.ring.load();
        let key = ring.signing(now).ok_or(SigningError::NoKey)?;
        let issued_at = now.as_second();
        let expires_in = token.lifetime.min(LONGEST_TOKEN).as_secs().max(1);
        let expires_at = issued_at.saturating_add(expires_in);
        let token_id = Uuid::new_v4().to_string();
        let role = token.role.name.as_str();
        let bearer = key
            .sign(&json!({
                "iss": self.issuer.as_ref(),
                "sub": role,
                "role": role,
                "db_role": role,
                "db_name": token.database,
                "iat": issued_at,
                "exp": expires_at,
                "jti": token_id,
                ROLE_OID_CLAIM: token.role.oid,
                SYSTEM_IDENTIFIER_CLAIM: token.role.system_identifier.to_string(),
            }))
            .map_err(SigningError::Failed)?;
        Ok(SignedToken {
            token: SecretString::from(bearer),
            token_id,
            expires_at: Timestamp::from_second(expires_at).unwrap_or(Timestamp::MAX),
            expires_in,
        })
    }

    /// The published key set, as JSON: the public parts, newest first.
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.current().jwks)
    }

    /// Every key and what it is for now.
    pub fn states(&self) -> Vec<(String, KeyState)> {
        self.current().states(self.clock.now())
    }

    /// `iss` of our tokens.
    pub fn issuer(&self) -> Arc<str> {
        Arc::clone(&self.issuer)
    }

    /// The keys for verifying.
    pub(crate) fn verifying(&self) -> Arc<KeySet> {
        Arc::clone(&self.current().verifying)
    }
}
