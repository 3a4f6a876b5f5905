//! Live queries: one run for everybody who may see the same rows, and what became different for each of them.
//!
//! The hub of a database follows its change stream and wakes the groups whose tables a commit touched. A group
//! is a query with its parameters, a role, and the claims that its rows depend on. It runs the query once,
//! whoever watches, and keeps what became different for as long as its members need to take it. A group runs
//! with those claims and with no others, so it can't see what only one of its members may.

mod doubts;
mod evaluation;
mod failures;
mod frames;
mod group;
mod history;
mod hub;
mod member;
mod principal;
mod recent;
mod shape;
mod watched;
mod weight;

pub(crate) use hub::LiveHub;
pub(crate) use member::Member;
