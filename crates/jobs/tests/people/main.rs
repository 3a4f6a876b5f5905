//! Looking at jobs and deciding about them in SQL, as whoever may: people with ordinary roles, and
//! workers and maintenance under their own logins.
#![allow(clippy::unwrap_used)]

mod batches;
mod letters;
mod lists;
mod operations;
mod races;
mod reading;
mod stage;
mod waiting;
