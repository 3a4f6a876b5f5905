//! One endpoint, one file.

pub(crate) mod admin;
pub(crate) mod admin_openapi;
pub(crate) mod asked;
pub(crate) mod batches;
pub(crate) mod body;
pub(crate) mod cron;
pub(crate) mod cursor;
pub(crate) mod dead_letters;
pub(crate) mod describe;
mod etag;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod kinds;
pub(crate) mod login;
pub(crate) mod members;
pub(crate) mod method;
pub(crate) mod openapi;
pub(crate) mod overview;
pub(crate) mod query;
pub(crate) mod query_explain;
pub(crate) mod queues;
pub(crate) mod rounds;
pub(crate) mod rpc;
pub(crate) mod session;
pub(crate) mod tokens;
pub(crate) mod well_known;
pub(crate) mod workers;
