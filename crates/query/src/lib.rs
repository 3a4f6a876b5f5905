#![doc = include_str!("../README.md")]

mod analysis;
pub mod encode;
mod functions;
mod plan;
mod refusal;
mod relations;
mod select;
mod text;

pub use analysis::{Analysis, Evidence, Private, Unkept, Verdict, WhyPrivate};
pub use functions::{
    ASSUME_SQL, CLOSED_SQL, FUNCTIONS_SQL, Found, Identity, OPERATORS_SQL, VIEWS_SQL, judge,
};
pub use refusal::Refusal;
pub use relations::{RELATIONS_SQL, Relation};
pub use select::{Column, ColumnText, explain, is_as_expected, locks, probe, rows};
pub use text::{Text, moment};
