//! Lines of `pg_hba.conf` that make a login worth nothing.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "hba",
    with_subjects: false,
    sql: include_str!("hba.sql"),
};
