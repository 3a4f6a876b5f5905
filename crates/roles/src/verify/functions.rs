//! The engine's functions: who may call each, and a call that shows it.

mod batches;
mod callbacks;
mod change_stream;
mod descriptors;
mod jobs;
mod keys;
mod operations;
mod principals;
mod queries;
mod schedule;
mod staging;

/// PUBLIC among the grantees.
pub(super) const PUBLIC: &str = "public";

/// One function of the schema.
pub(super) struct EngineFunction {
    /// Name and argument types as `regprocedure` prints them with an empty search path.
    pub signature: &'static str,
    /// A statement that calls it, undone afterwards.
    pub call: &'static str,
    /// Last parts of the roles that hold EXECUTE, besides the owner.
    pub grantees: &'static [&'static str],
    /// What the call gives a login that may make it: `None` for success, else the SQLSTATE that
    /// the function itself raises.
    pub raises: Option<&'static str>,
    /// Last part of its owner's name.
    pub owner: &'static str,
}

const fn function(
    signature: &'static str,
    call: &'static str,
    grantees: &'static [&'static str],
    raises: Option<&'static str>,
) -> EngineFunction {
    EngineFunction {
        signature,
        call,
        grantees,
        raises,
        owner: "owner",
    }
}

const GATEWAY: &[&str] = &["gateway"];
const OPERATOR: &[&str] = &["operator"];
const NOBODY: &[&str] = &[];

/// Every function of the schema. One that is missing here fails the verification.
pub(super) fn all() -> impl Iterator<Item = &'static EngineFunction> {
    FUNCTIONS
        .iter()
        .chain(jobs::FUNCTIONS)
        .chain(keys::FUNCTIONS)
        .chain(callbacks::FUNCTIONS)
        .chain(batches::FUNCTIONS)
        .chain(operations::FUNCTIONS)
        .chain(principals::FUNCTIONS)
        .chain(queries::FUNCTIONS)
        .chain(descriptors::FUNCTIONS)
        .chain(schedule::FUNCTIONS)
        .chain(staging::FUNCTIONS)
        .chain(change_stream::FUNCTIONS)
}

const FUNCTIONS: &[EngineFunction] = &[
    function("rolegate.actor()", "select rolegate.actor()", NOBODY, None),
    function(
        "rolegate.forbidden_roles(oid,text[])",
        "select rolegate.forbidden_roles()",
        &["gateway", "operator", "viewer"],
        None,
    ),
    function(
        "rolegate.require_target(text)",
        "select rolegate.require_target('x')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.advance_epoch()",
        "select rolegate.advance_epoch()",
        NOBODY,
        None,
    ),
    function("rolegate.epoch()", "select rolegate.epoch()", GATEWAY, None),
    function(
        "rolegate.hmac_pad(bytea,integer)",
        "select rolegate.hmac_pad('', 0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.random_bytes()",
        "select rolegate.random_bytes()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.add_claim_key()",
        "select rolegate.add_claim_key()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.claim_signing_key()",
        "select rolegate.claim_signing_key()",
        &["gateway", "worker"],
        None,
    ),
    function(
        "rolegate.rotate_claim_key()",
        "select rolegate.rotate_claim_key()",
        &["operator", "maintenance"],
        None,
    ),
    function(
        "rolegate.rotate_signing_key(interval)",
        "select rolegate.rotate_signing_key()",
        &["gateway", "operator", "maintenance"],
        None,
    ),
    function(
        "rolegate.revoke_signing_keys()",
        "select rolegate.revoke_signing_keys()",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.rebind_roles(text[],boolean)",
        "select rolegate.rebind_roles(dry_run => true)",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.claims()",
        "select rolegate.claims()",
        &[PUBLIC],
        None,
    ),
    function(
        "rolegate.claim(text)",
        "select rolegate.claim('sub')",
        &[PUBLIC],
        None,
    ),
    function(
        "rolegate.mint_api_token(text,text,interval,boolean,jsonb)",
        "select rolegate.mint_api_token('x')",
        OPERATOR,
        Some("42704"),
    ),
    function(
        "rolegate.import_api_token(bytea,text,text,timestamp with time zone)",
        "select rolegate.import_api_token('', 'x', '', null)",
        OPERATOR,
        Some("42704"),
    ),
    function(
        "rolegate.list_api_tokens()",
        "select rolegate.list_api_tokens()",
        &["operator", "viewer"],
        None,
    ),
    function(
        "rolegate.page_api_tokens(text,boolean,uuid,integer)",
        "select rolegate.page_api_tokens()",
        &["operator", "viewer"],
        None,
    ),
    function(
        "rolegate.revoke_api_token(uuid)",
        "select rolegate.revoke_api_token(pg_catalog.gen_random_uuid())",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.find_api_token(bytea)",
        "select rolegate.find_api_token('')",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.touch_api_tokens(uuid[])",
        "select rolegate.touch_api_tokens('{}')",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.store_signing_key(text,text,jsonb,bytea,boolean)",
        "select rolegate.store_signing_key('verify', 'EdDSA', '{}', '')",
        &["gateway", "console", "operator"],
        None,
    ),
    function(
        "rolegate.signing_keys()",
        "select rolegate.signing_keys()",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.role_record(text,oid)",
        "select rolegate.role_record('verify', 0)",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.set_budget(text,integer,integer,integer,bigint,bigint)",
        "select rolegate.set_budget('verify', 1, 1, 1, 1, 1)",
        OPERATOR,
        Some("42704"),
    ),
    function(
        "rolegate.idempotency_claim(bytea,text,bytea,bytea,interval,interval)",
        "select rolegate.idempotency_claim('', 'verify', '', '', '1 min', '1 min')",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.idempotency_store(bytea,integer,text,text)",
        "select rolegate.idempotency_store('', 200, '', '')",
        &["admitted"],
        Some("55000"),
    ),
    function(
        "rolegate.idempotency_release(bytea)",
        "select rolegate.idempotency_release('')",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.idempotency_prune(integer)",
        "select rolegate.idempotency_prune(1)",
        &["gateway", "maintenance"],
        None,
    ),
    function(
        "rolegate.channel(text,regprocedure)",
        "select rolegate.channel('x', 'pg_catalog.now()'::pg_catalog.regprocedure)",
        OPERATOR,
        Some("22023"),
    ),
    function(
        "rolegate.channel(text,text)",
        "select rolegate.channel('x', 'no.such')",
        OPERATOR,
        Some("42883"),
    ),
    function(
        "rolegate.drop_channel(text)",
        "select rolegate.drop_channel('x')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.channels()",
        "select rolegate.channels()",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.emit(text,jsonb)",
        "select rolegate.emit('x', '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.read_events(text[],text,integer)",
        "select rolegate.read_events('{}', null, 1)",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.event_lock_key(bigint)",
        "select rolegate.event_lock_key(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.last_event_id()",
        "select rolegate.last_event_id()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.settled_event_id()",
        "select rolegate.settled_event_id()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.event_horizon()",
        "select rolegate.event_horizon()",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.event_prune(interval,integer)",
        "select rolegate.event_prune('1 year', 1)",
        &["gateway", "maintenance"],
        None,
    ),
    function(
        "rolegate.definition_hash(oid)",
        "select rolegate.definition_hash(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.declare_safe(regprocedure)",
        "select rolegate.declare_safe('pg_catalog.count()')",
        OPERATOR,
        Some("42883"),
    ),
    function(
        "rolegate.undeclare_safe(regprocedure)",
        "select rolegate.undeclare_safe('pg_catalog.now()')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.safe_functions()",
        "select rolegate.safe_functions()",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.session_statements()",
        "select rolegate.session_statements()",
        &[PUBLIC],
        None,
    ),
    function(
        "rolegate.record_roles()",
        "select rolegate.record_roles()",
        GATEWAY,
        None,
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::PUBLIC;

    /// Those whom nobody but an administrator of the cluster can be.
    const LOGINS: [&str; 7] = [
        "gateway",
        "worker",
        "receiver",
        "maintenance",
        "console",
        "replicator",
        "publisher",
    ];

    /// A function that people and applications may call has a section of its own in the reference;
    /// the others have a row. Both say who may execute it.
    #[test]
    fn the_reference_has_every_function_with_its_grantees() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/sql.md");
        let page = std::fs::read_to_string(file).expect("docs/reference/sql.md is there");
        for function in super::all() {
            let signature = function.signature;
            let mut expected: Vec<String> = function
                .grantees
                .iter()
                .map(|grantee| match *grantee {
                    PUBLIC => "PUBLIC".to_owned(),
                    role => format!("rolegate_{role}"),
                })
                .collect();
            expected.sort();
            // `emit` is granted to nobody and made to be granted.
            let section = signature == "rolegate.emit(text,jsonb)"
                || function.grantees.iter().any(|role| !LOGINS.contains(role));
            let text = if section {
                let heading = format!("### `{signature}`\n");
                let (_, rest) = page
                    .split_once(&heading)
                    .unwrap_or_else(|| panic!("no section {heading}"));
                let section = rest.split("\n#").next().unwrap_or_default();
                let (_, grantees) = section
                    .split_once("Granted to:")
                    .unwrap_or_else(|| panic!("{signature}: who may execute it?"));
                grantees.split('.').next().unwrap_or_default()
            } else {
                let row = format!("| `{signature}` | ");
                let (_, rest) = page
                    .split_once(&row)
                    .unwrap_or_else(|| panic!("no row {row}"));
                rest.split('|').next().unwrap_or_default()
            };
            let mut named: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
            named.sort_unstable();
            assert_eq!(named, expected, "{signature}");
            if expected.is_empty() {
                assert_eq!(text.trim(), "nobody", "{signature}");
            }
        }
        let listed =
            page.matches("### `rolegate.").count() + page.matches("\n| `rolegate.").count();
        assert_eq!(
            listed,
            super::all().count(),
            "the page has functions that are gone"
        );
    }
}
