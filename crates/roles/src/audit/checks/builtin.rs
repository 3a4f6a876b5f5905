//! Built-in functions that reach around roles, and large objects.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "builtin",
    with_subjects: true,
    sql: include_str!("builtin.sql"),
};
