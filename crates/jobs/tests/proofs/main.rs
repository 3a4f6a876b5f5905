//! What the queue does while somebody keeps the server from removing dead rows, and who is named for it.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout)]

mod guardian;
mod pinned;

#[path = "../stage/mod.rs"]
mod stage;
