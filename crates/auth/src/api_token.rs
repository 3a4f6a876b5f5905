//! API tokens: `rg_`, 256 random bits, a checksum; one role each, and revocable.

mod store;
mod text;
mod tokens;

pub use store::{ApiTokenRecord, ApiTokenStore};
pub use text::{ApiToken, NotOurs};
pub use tokens::{ApiTokenError, ApiTokenOptions, ApiTokens};
