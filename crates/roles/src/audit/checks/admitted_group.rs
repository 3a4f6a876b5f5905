//! Who is in the group of admitted roles without having been admitted.

use super::Check;

/// Roles of ours.
pub(super) const ENGINE: Check = Check {
    name: "engine_admitted",
    with_subjects: false,
    sql: include_str!("engine_admitted.sql"),
};

/// Who may admit roles, and comes in through the line of `pg_ident.conf` for the group.
pub(super) const GRANTORS: Check = Check {
    name: "grantors",
    with_subjects: false,
    sql: include_str!("grantors.sql"),
};

/// The same for a login that may not read the lines.
pub(super) const GRANTORS_UNREAD: Check = Check {
    name: "grantors",
    with_subjects: false,
    sql: include_str!("grantors_unread.sql"),
};
