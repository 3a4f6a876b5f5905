//! Attempts to break the session: to leave the role, to forge claims, to leave something for the
//! next caller, to escape from a request. On every version, logged in and switched to.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so do its parts"
)]

mod session {
    pub(crate) mod stage;

    mod claims;
    mod exits;
    mod full_disk;
    mod leftovers;
    mod pools;
    mod prepared;
    mod property;
    mod role;
}
