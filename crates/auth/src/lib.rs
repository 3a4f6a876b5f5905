#![doc = include_str!("../README.md")]

pub mod api_token;
pub mod authenticator;
pub mod callback;
pub mod claims_signer;
mod encoding;
pub mod issuer;
pub mod jwks;
pub mod jwt;
pub mod password;
pub mod refusal;
pub mod signing;
pub mod verified;

pub use authenticator::{AuthError, Authenticator};
pub use issuer::IssuerConfig;
pub use jwt::Verifier;
pub use password::PasswordCheck;
pub use refusal::{Refusal, RunMode, admit, admit_login};
pub use verified::{Origin, VerifiedToken};
