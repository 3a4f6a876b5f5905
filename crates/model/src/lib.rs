#![doc = include_str!("../README.md")]

pub mod claims;
pub mod clock;
pub mod error_code;
pub mod principal;
pub mod role;

pub use clock::{Clock, FixedClock, SystemClock};
pub use error_code::ErrorCode;
pub use principal::{CredentialKind, Principal, Scopes};
pub use role::{RoleIdentity, RoleName, RoleNameError};
