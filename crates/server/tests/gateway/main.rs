//! The gateway over real HTTP, against real PostgreSQL, under its real logins.

mod harness;
mod smoke;
