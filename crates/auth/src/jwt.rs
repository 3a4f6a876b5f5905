//! JSON Web Tokens: from a bearer to a verified token.

mod cache;
mod error;
mod issuer;
pub(crate) mod json;
pub(crate) mod key;
pub(crate) mod key_set;
mod parts;
mod verifier;

pub use error::JwtError;
pub use key::{KeyError, MAX_RSA_BITS, MIN_RSA_BITS};
pub use parts::MAX_TOKEN_BYTES;
pub use verifier::{Verifier, VerifierError, VerifierOptions};
