//! Ordering keys, limit keys and the limits of queues.
#![allow(clippy::unwrap_used)]
// A test is no crate that is configured.
#![allow(clippy::disallowed_methods)]

mod flows;
mod rules;
mod storm;
mod table;
mod worker;
