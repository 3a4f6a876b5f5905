//! People and processes that want more than they may, and many of them at once.
#![allow(clippy::unwrap_used)]
// How much there was of it is for people.
#![allow(clippy::print_stdout)]

mod concurrency;
mod crowd;
mod cursor;
mod input;
mod lost;
mod pooling;
mod privileges;
mod size;
mod unique;

#[path = "../stage/mod.rs"]
mod stage;
