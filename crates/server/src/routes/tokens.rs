//! `/v1/{database}/tokens`: API tokens, by operators.

pub(crate) mod list;
pub(crate) mod mint;
pub(crate) mod revoke;
