#![doc = include_str!("../README.md")]

mod analysis;
pub mod cache;
pub mod encode;
mod functions;
mod pinned;
mod plan;
mod refusal;
mod relations;
mod select;
mod snapshot;
mod text;
mod touch;

pub use analysis::{Analysis, Evidence, Private, Unkept, Verdict, WhyPrivate};
pub use functions::{
    ASSUME_SQL, CLOSED_SQL, FUNCTIONS_SQL, Found, Identity, OPERATORS_SQL, VIEWS_SQL, judge,
};
pub use pinned::{OneTable, Pinned, PinnedValue};
pub use refusal::Refusal;
pub use relations::{RELATIONS_SQL, Relation};
pub use select::{Column, ColumnText, SEEN_SQL, explain, is_as_expected, locks, probe, rows, seen};
pub use snapshot::{Snapshot, SnapshotError};
pub use text::{Text, moment};
pub use touch::Touch;
