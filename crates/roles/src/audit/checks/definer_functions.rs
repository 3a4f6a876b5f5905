//! Definer functions with an open search path.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "definer_functions",
    with_subjects: true,
    sql: include_str!("definer_functions.sql"),
};
