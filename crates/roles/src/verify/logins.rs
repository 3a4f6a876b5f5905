//! The logins, and what each may and may not do besides calling the engine's functions.

/// A login of the engine.
pub(super) struct Login {
    /// Last part of its name.
    pub name: &'static str,
    /// Roles whose privileges it has, itself included.
    pub acts_as: &'static [&'static str],
    /// May take session advisory locks.
    pub locks: bool,
    /// May become the owner.
    pub migrates: bool,
}

/// Every login that a process of ours uses for SQL. `replicator` is none of them: it speaks the
/// replication protocol and `pg_hba.conf` keeps it out of the rest.
pub(super) const LOGINS: &[Login] = &[
    login("authenticator", &["authenticator"], false),
    login("anonymous", &["anonymous"], false),
    login("gateway", &["gateway"], false),
    login("worker", &["worker"], false),
    login("receiver", &["receiver"], false),
    login("maintenance", &["maintenance"], true),
    login("console", &["console"], false),
    login(
        "runtime",
        &[
            "runtime",
            "gateway",
            "worker",
            "receiver",
            "maintenance",
            "console",
        ],
        true,
    ),
    Login {
        name: "migrator",
        acts_as: &["migrator"],
        locks: true,
        migrates: true,
    },
];

const fn login(name: &'static str, acts_as: &'static [&'static str], locks: bool) -> Login {
    Login {
        name,
        acts_as,
        locks,
        migrates: false,
    }
}

const DENIED: Option<&str> = Some("42501");

/// A statement and what it must give: `None` for success, else a SQLSTATE.
pub(super) type Attempt = (&'static str, Option<&'static str>);

/// What every login tries, whoever it is.
pub(super) const EVERY_LOGIN: &[Attempt] = &[
    // Temporary objects would shadow the real ones of the next caller.
    ("create temporary table verify (x integer)", DENIED),
    ("create schema verify", DENIED),
    ("create table rolegate.verify (x integer)", DENIED),
    // Large objects: storage without an owner's quota.
    ("select pg_catalog.lo_create(0)", DENIED),
    ("select pg_catalog.lo_creat(-1)", DENIED),
    ("select pg_catalog.lo_from_bytea(0, '')", DENIED),
    ("select pg_catalog.lo_put(1, 0, '')", DENIED),
    ("select pg_catalog.lo_open(1, 393216)", DENIED),
    ("select pg_catalog.lo_unlink(1)", DENIED),
    // One name space of locks for all tenants.
    ("select pg_catalog.pg_advisory_lock_shared(1)", DENIED),
    ("select pg_catalog.pg_advisory_lock(1, 1)", DENIED),
    ("select pg_catalog.pg_advisory_xact_lock(1)", DENIED),
    ("select pg_catalog.pg_try_advisory_xact_lock(1, 1)", DENIED),
    // Other backends and the WAL.
    ("select pg_catalog.pg_cancel_backend(0)", DENIED),
    ("select pg_catalog.pg_terminate_backend(0)", DENIED),
    (
        "select pg_catalog.pg_logical_emit_message(false, 'x', 'x')",
        DENIED,
    ),
    // The names of our prepared statements, which the next caller's request will use.
    ("select from pg_catalog.pg_prepared_statements", DENIED),
    // Files and programs of the server.
    ("copy (select 1) to program 'true'", DENIED),
    ("select pg_catalog.pg_read_file('postgresql.conf')", DENIED),
    ("create role verify", DENIED),
    // The clean-up between requests runs as the login.
    ("select pg_catalog.pg_advisory_unlock_all()", None),
    ("reset all", None),
];

/// Logins whose connections run callers' code may not turn their own visibility back on.
pub(super) const CALLER_CODE: &[&str] = &["authenticator", "anonymous"];

/// What those try.
pub(super) const CALLER_CODE_ATTEMPTS: &[Attempt] = &[
    ("set track_activities = on", DENIED),
    (
        "select 1 / (pg_catalog.current_setting('track_activities') = 'off')::pg_catalog.int4",
        None,
    ),
];
