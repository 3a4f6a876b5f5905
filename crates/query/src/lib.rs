#![doc = include_str!("../README.md")]

mod analysis;
pub mod cache;
mod claims;
mod dependence;
pub mod diff;
pub mod encode;
mod functions;
mod order_by;
mod pinned;
mod plan;
mod purge;
mod refusal;
mod relations;
mod select;
mod snapshot;
mod text;
mod touch;

pub use analysis::{Analysis, Evidence, Unkept, Verdict, WhyPrivate};
pub use claims::ClaimsRead;
pub use dependence::{
    OPAQUE_SQL, PARTITIONS_SQL, POLICIES_SQL, ROW_KEYS_SQL, Written, key_columns,
};
pub use functions::{
    ASSUME_SQL, CLOSED_SQL, FUNCTIONS_SQL, Found, Identity, OPERATORS_SQL, VIEWS_SQL, judge,
    keeping,
};
pub use order_by::is_ordered;
pub use pinned::{OneTable, Pinned, PinnedValue};
pub use purge::PurgeKeys;
pub use refusal::Refusal;
pub use relations::{ACCESS_SQL, RELATIONS_SQL, Relation};
pub use select::{Column, ColumnText, SEEN_SQL, explain, is_as_expected, locks, probe, rows, seen};
pub use snapshot::{Snapshot, SnapshotError};
pub use text::{Text, moment};
pub use touch::Touch;
