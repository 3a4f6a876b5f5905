//! Lines of `pg_hba.conf` that answer the gateway's password check with something else.

use super::Check;

/// Parameters: the addresses of the client if it is on the server's machine, and whether it has TLS.
pub(super) const CHECK: Check = Check {
    name: "password_check",
    with_subjects: false,
    sql: include_str!("password_check.sql"),
};
