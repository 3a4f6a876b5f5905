//! What servers send: recorded, live, and damaged.
#![allow(clippy::unwrap_used)]

mod damaged;
mod description;
mod live;
mod recorded;
