//! `rolegate dev`, as a program.

mod audit;
mod cron;
mod given;
mod installation;
mod keys;
mod letters;
mod minting;
mod origins;
mod place;
mod private;
mod program;
mod replication;
