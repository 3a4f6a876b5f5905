//! `rolegate serve` as a process: signals under load, a database that restarts under load, and
//! callbacks.

mod callbacks;
mod client;
mod cron;
mod functions;
mod idle;
mod load;
mod maintenance;
mod place;
mod relay;
mod restart;
mod signals;
mod standby;
