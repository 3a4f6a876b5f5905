//! Relations and sequences granted to PUBLIC.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "public_grants",
    with_subjects: true,
    sql: include_str!("public_grants.sql"),
};
