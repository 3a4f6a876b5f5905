//! One endpoint, one file.

pub(crate) mod body;
pub(crate) mod events;
pub(crate) mod login;
pub(crate) mod method;
pub(crate) mod openapi;
pub(crate) mod rpc;
pub(crate) mod session;
pub(crate) mod well_known;
