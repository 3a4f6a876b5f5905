//! Policies that trust what a caller can set.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "policies",
    with_subjects: true,
    sql: include_str!("policies.sql"),
};
