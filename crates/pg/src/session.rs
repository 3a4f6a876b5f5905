//! One request as one batch: the only place that becomes a caller's role.
//!
//! A request is one network write of two segments. The first sets the caller's settings, claims
//! and role, runs the caller's statements, fires deferred triggers, checks that role, user and
//! claims are still the same, and ends at `Sync`. An error anywhere skips everything up to there,
//! the commit included, so that nothing of a caller ever runs as somebody else. The second
//! segment cleans the session for the next caller. `docs/adr/0002-session-core.md` gives the
//! reasons and the measurements.

mod batch;
mod hygiene;
mod names;
mod reply;
mod request;
mod worker;

pub use reply::{Field, Reply, Rows, SessionError};
pub use request::{Access, ClaimsSigner, End, Finish, Limits, Request, Reread, Transaction};
pub(crate) use worker::{Health, Job, Worker, WorkerSettings};
