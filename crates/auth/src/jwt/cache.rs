//! What was verified already.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use moka::sync::Cache;

use crate::verified::VerifiedToken;

/// A bearer and a database, hashed: the bearer itself is not kept.
pub(crate) type CacheKey = [u8; 32];

/// A verified token, with what has to be checked again each time.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) token: Arc<VerifiedToken>,
    /// From when on, leeway included.
    pub(crate) valid_from: Option<Timestamp>,
    /// Until when, leeway included.
    pub(crate) valid_until: Timestamp,
    /// The index of its issuer.
    pub(crate) issuer: usize,
    /// The generation of the keys it was verified with.
    pub(crate) generation: u64,
}

/// Verified tokens, bounded by the memory they take.
#[derive(Debug)]
pub(crate) struct TokenCache(Cache<CacheKey, Entry>);

impl TokenCache {
    /// A cache of about `bytes`; 0 switches it off.
    pub(crate) fn new(bytes: u64) -> Self {
        Self(
            Cache::builder()
                .max_capacity(bytes)
                // 512: the entry, its key, and the small texts.
                .weigher(|_, entry: &Entry| {
                    u32::try_from(entry.token.claims.len() + 512).unwrap_or(u32::MAX)
                })
                .build(),
        )
    }

    pub(crate) fn key(bearer: &str, database: &str) -> CacheKey {
        let mut context = Context::new(&SHA256);
        // The length keeps the two apart.
        context.update(&bearer.len().to_le_bytes());
        context.update(bearer.as_bytes());
        context.update(database.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Entry> {
        self.0.get(key)
    }

    pub(crate) fn insert(&self, key: CacheKey, entry: Entry) {
        self.0.insert(key, entry);
    }

    pub(crate) fn remove(&self, key: &CacheKey) {
        self.0.invalidate(key);
    }

    /// How many entries there are, about.
    pub(crate) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}
