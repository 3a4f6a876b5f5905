//! Attempts to break the session: to leave the role, to forge claims, to leave something for the
//! next caller, to escape from a request. On every version, logged in and switched to.

mod session {
    pub(crate) mod stage;

    mod claims;
    mod exits;
    mod leftovers;
    mod pools;
    mod prepared;
    mod property;
    mod role;
}
