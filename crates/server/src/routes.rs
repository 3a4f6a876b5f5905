//! One endpoint, one file.

pub(crate) mod admin;
pub(crate) mod admin_openapi;
pub(crate) mod body;
pub(crate) mod describe;
pub(crate) mod events;
pub(crate) mod login;
pub(crate) mod method;
pub(crate) mod openapi;
pub(crate) mod rpc;
pub(crate) mod session;
pub(crate) mod tokens;
pub(crate) mod well_known;
