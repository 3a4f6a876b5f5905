//! Jobs that are sent to functions, by a worker under its own login: what the functions get, and what
//! becomes of the jobs.

mod answers;
mod asynchronous;
mod hosts;
mod stage;
