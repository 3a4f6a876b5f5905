//! Replication slots of ours without a limit.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "slots",
    with_subjects: false,
    sql: include_str!("slots.sql"),
};
