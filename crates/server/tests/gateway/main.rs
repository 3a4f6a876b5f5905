//! The gateway over real HTTP, against real PostgreSQL, under its real logins.

mod attacks;
mod bounds;
mod calls;
mod direct;
mod events;
mod faults;
mod function_jobs;
mod harness;
mod identity;
mod imported;
mod keys;
mod matrix;
mod password;
mod protocol;
mod query;
mod revocation;
mod smoke;
