//! Functions that PUBLIC may execute.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "public_functions",
    with_subjects: true,
    sql: include_str!("public_functions.sql"),
};
