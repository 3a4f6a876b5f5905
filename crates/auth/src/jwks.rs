//! An issuer's keys from a URL.
//!
//! Bounds: one fetch at a time; an unknown `kid` causes one at most every 30 seconds; keys older
//! than 5 minutes are renewed beside the requests that use them; the last good set is used for at
//! most an hour.

mod document;
mod fetch;
mod source;

pub use fetch::{FetchError, FetchLimits, JwksUrlError};
pub(crate) use source::JwksSource;

use jiff::SignedDuration;

/// How often a token can make us ask for keys.
pub const MIN_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// How often we ask while there are no keys at all.
pub const MIN_INTERVAL_WITHOUT_KEYS: SignedDuration = SignedDuration::from_secs(5);
/// When keys are renewed.
pub const FRESH_FOR: SignedDuration = SignedDuration::from_mins(5);
/// How long keys are used when they cannot be renewed.
pub const USABLE_FOR: SignedDuration = SignedDuration::from_hours(1);
