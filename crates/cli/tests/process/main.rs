//! `rolegate serve` as a process: signals under load, and a database that restarts under load.

mod client;
mod load;
mod place;
mod restart;
mod signals;
