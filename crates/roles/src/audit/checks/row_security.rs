//! Row-level security that is half switched on.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "row_security",
    with_subjects: true,
    sql: include_str!("row_security.sql"),
};
