//! Privileges on the database, its schemas, parameters and foreign servers.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "database",
    with_subjects: true,
    sql: include_str!("database.sql"),
};
