//! What requests without a token reach by grants of their own.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "anonymous",
    with_subjects: true,
    sql: include_str!("anonymous.sql"),
};
