//! All issuers, and what was verified already.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rolegate_model::Clock;
use tokio_util::task::TaskTracker;

use super::cache::{Entry, TokenCache};
use super::error::JwtError;
use super::issuer::{Issuer, Keys, check_window, text};
use super::key::{KeyError, VerifyKey};
use super::key_set::KeySet;
use super::parts::{MAX_TOKEN_BYTES, Parts};
use crate::issuer::{Audiences, IssuerConfig, KeySource, MAX_LEEWAY_SECONDS, Presence, RoleRule};
use crate::jwks::{FetchLimits, JwksSource, JwksUrlError};
use crate::signing::SigningKeys;
use crate::verified::VerifiedToken;

/// Bounds of a verifier.
#[derive(Debug, Clone, Copy)]
pub struct VerifierOptions {
    /// Memory for verified tokens, in bytes; 0 verifies every time.
    pub cache_bytes: u64,
    /// Bounds of fetching keys.
    pub fetch: FetchLimits,
}

impl Default for VerifierOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * 1024 * 1024,
            fetch: FetchLimits::default(),
        }
    }
}

/// Why the configured issuers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// Two issuers with one `iss`: which keys count would depend on their order.
    #[error("the issuer `{0}` has the same `issuer` as another one")]
    Ambiguous(String),
    /// A key that cannot be used.
    #[error("the key of the issuer `{name}` cannot be used")]
    Key {
        /// The issuer.
        name: String,
        /// What is wrong.
        #[source]
        error: KeyError,
    },
    /// A URL that cannot be used.
    #[error("the JWKS URL of the issuer `{name}` cannot be used")]
    Url {
        /// The issuer.
        name: String,
        /// What is wrong.
        #[source]
        error: JwksUrlError,
    },
    /// A leeway over five minutes.
    #[error("the leeway of the issuer `{0}` is over {MAX_LEEWAY_SECONDS} seconds")]
    Leeway(String),
    /// No path and no default.
    #[error("the issuer `{0}` has neither a role claim nor a default role")]
    NoRole(String),
    /// The map or the default leads to a role that the allow-list does not have.
    #[error("the issuer `{name}` leads to the role `{role}`, which its allow-list does not have")]
    NotAllowed {
        /// The issuer.
        name: String,
        /// The role.
        role: String,
    },
}

/// Verifies JWTs of the configured issuers, and of our own key.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Issuer>,
    by_iss: HashMap<Option<Arc<str>>, usize>,
    cache: TokenCache,
    tasks: TaskTracker,
}

impl Verifier {
    /// A verifier for `issuers`, and for our own tokens if there is a key. Keys behind URLs are
    /// fetched when the first token needs them.
    pub fn new(
        issuers: &[IssuerConfig],
        own: Option<Arc<SigningKeys>>,
        options: VerifierOptions,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, VerifierError> {
        let tasks = TaskTracker::new();
        let mut verifier = Self {
            issuers: Vec::new(),
            by_iss: HashMap::new(),
            cache: TokenCache::new(options.cache_bytes),
            tasks: tasks.clone(),
        };
        if let Some(keys) = own {
            verifier.add("our own", own_issuer(keys))?;
        }
        for config in issuers {
            let keys = match &config.keys {
                KeySource::SharedSecret(secret) => {
                    fixed(VerifyKey::shared_secret(secret.expose()), config)?
                }
                KeySource::PublicKey(pem) => fixed(VerifyKey::public_pem(pem), config)?,
                KeySource::JwksUrl(url) => JwksSource::new(
                    &config.name,
                    url,
                    options.fetch,
                    Arc::clone(clock),
                    tasks.clone(),
                )
                .map(Keys::Jwks)
                .map_err(|error| VerifierError::Url {
                    name: config.name.clone(),
                    error,
                })?,
            };
            verifier.add(&config.name, issuer_of(config, keys)?)?;
        }
        Ok(verifier)
    }

    fn add(&mut self, name: &str, issuer: Issuer) -> Result<(), VerifierError> {
        let index = self.issuers.len();
        if self.by_iss.insert(issuer.iss.clone(), index).is_some() {
            return Err(VerifierError::Ambiguous(name.to_owned()));
        }
        self.issuers.push(issuer);
        Ok(())
    }

    /// Verifies `bearer` for a request to `database`, the one that the request will really use.
    pub async fn verify(
        &self,
        bearer: &str,
        database: &str,
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, JwtError> {
        if bearer.len() > MAX_TOKEN_BYTES {
            return Err(JwtError::TooLong);
        }
        let key = TokenCache::key(bearer, database);
        if let Some(entry) = self.cache.get(&key) {
            if self.issuers[entry.issuer].keys.generation() == Some(entry.generation) {
                check_window(entry.valid_from, entry.valid_until, now)?;
                return Ok(entry.token);
            }
            self.cache.remove(&key);
        }

        let parts = Parts::of(bearer)?;
        // Not verified yet: it only says whose keys have to fit.
        let iss = text(&parts.claims, "iss")?.map(Arc::from);
        let index = *self.by_iss.get(&iss).ok_or(JwtError::IssuerUnknown)?;
        let issuer = &self.issuers[index];
        let keys = issuer.keys.get(parts.kid.as_deref()).await?;
        let verify_key = keys.select(parts.kid.as_deref())?;
        let algorithm = verify_key
            .allowed(&parts.algorithm)
            .ok_or(JwtError::Algorithm)?;
        if !verify_key.verifies(algorithm, parts.signed, parts.signature) {
            return Err(JwtError::Signature);
        }
        let checked = issuer.check(&parts, bearer, database, now)?;
        let token = Arc::new(checked.token);
        self.cache.insert(
            key,
            Entry {
                token: Arc::clone(&token),
                valid_from: checked.valid_from,
                valid_until: checked.valid_until,
                issuer: index,
                generation: keys.generation,
            },
        );
        Ok(token)
    }

    /// How many verified tokens are remembered, about. For a metric.
    pub fn cached(&self) -> u64 {
        self.cache.len()
    }

    /// Waits for fetches that are still running; at most as long as one fetch may take.
    pub async fn shut_down(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn fixed(key: Result<VerifyKey, KeyError>, config: &IssuerConfig) -> Result<Keys, VerifierError> {
    let key = key.map_err(|error| VerifierError::Key {
        name: config.name.clone(),
        error,
    })?;
    Ok(Keys::Fixed(Arc::new(KeySet {
        keys: vec![key],
        generation: 0,
    })))
}

fn issuer_of(config: &IssuerConfig, keys: Keys) -> Result<Issuer, VerifierError> {
    let name = || config.name.clone();
    if config.leeway_seconds > MAX_LEEWAY_SECONDS {
        return Err(VerifierError::Leeway(name()));
    }
    if config.role_claims.is_empty() && config.default_role.is_none() {
        return Err(VerifierError::NoRole(name()));
    }
    let targets = config
        .role_map
        .iter()
        .flat_map(|map| map.values())
        .chain(&config.default_role);
    for role in targets {
        if config
            .allowed_roles
            .as_ref()
            .is_some_and(|allowed| !allowed.contains(role))
        {
            return Err(VerifierError::NotAllowed {
                name: name(),
                role: role.to_string(),
            });
        }
    }
    Ok(Issuer {
        iss: config.issuer.as_deref().map(Arc::from),
        keys,
        audiences: config.audiences.clone(),
        authorized_parties: config.authorized_parties.clone(),
        role_rule: RoleRule {
            paths: config.role_claims.clone(),
            map: config.role_map.clone(),
            default: config.default_role.clone(),
            allowed: config.allowed_roles.clone(),
        },
        db_name: config.db_name,
        issued_at: config.issued_at,
        leeway: SignedDuration::from_secs(i64::from(config.leeway_seconds)),
    })
}

/// Our own tokens: made here, for one database, naming one role.
fn own_issuer(keys: Arc<SigningKeys>) -> Issuer {
    Issuer {
        iss: Some(keys.issuer()),
        keys: Keys::Own(keys),
        // They are bound to the database and to the cluster; no other service accepts them.
        audiences: Audiences::Any,
        authorized_parties: None,
        role_rule: RoleRule {
            paths: vec!["role".parse().expect("one name is a path")],
            map: None,
            default: None,
            allowed: None,
        },
        db_name: Presence::Required,
        issued_at: Presence::Required,
        leeway: SignedDuration::from_secs(30),
    }
}
