//! Relations that show rows past the row-level security of what they show.

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "views",
    with_subjects: true,
    sql: include_str!("views.sql"),
};
