//! Whether the functions of a query may run, and whether what they give can be kept.
//!
//! Which function a name means is PostgreSQL's decision, and it is not known before it has planned the
//! statement, which executes functions that are immutable. So every function of a name counts, in
//! whatever schema.

use rolegate_sql::{is_dangerous, is_harmless_builtin};

use crate::analysis::Unkept;
use crate::refusal::Refusal;
use crate::text::Text;

/// The functions of names: `schema, name, builtin, volatility, kind, oid, called`. Parameters are the names that are
/// called, those behind a point, those of them behind any value, all names, and the role that is not to know of
/// others than it can call.
pub const FUNCTIONS_SQL: &str = include_str!("sql/functions.sql");

/// What runs code of users without being called by name: parameters are operators, names, and those of them that
/// stand where a type can.
pub const ASSUME_SQL: &str = include_str!("sql/assume.sql");

/// Whether a type of these names is that of a relation that a role may not read.
pub const CLOSED_SQL: &str = include_str!("sql/closed.sql");

/// Texts of the views of these names: `oid, text`.
pub const VIEWS_SQL: &str = include_str!("sql/views.sql");

/// Operators of these names that somebody added and that are not immutable: `name`.
pub const OPERATORS_SQL: &str = include_str!("sql/operators.sql");

/// A function that a name could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// OID in `pg_proc`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// PostgreSQL's own.
    pub builtin: bool,
    /// `provolatile`.
    pub volatility: char,
    /// `prokind`.
    pub kind: char,
    /// It can be called from where the name stands; otherwise it is only mentioned.
    pub called: bool,
    /// An operator declared that it can't leave its role.
    pub declared_safe: bool,
}

/// As whom the text runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// On a login of its own: it can't become anybody else.
    Login,
    /// On a login that may become other roles.
    Assume,
    /// On the login of those who have no token.
    Anonymous,
}

/// Volatile functions of PostgreSQL without an effect.
const WITHOUT_EFFECT: &[&str] = &[
    "array_sample",
    "array_shuffle",
    "bernoulli",
    "clock_timestamp",
    "gen_random_uuid",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
    "random",
    "random_normal",
    "system",
    "timeofday",
    "uuidv4",
    "uuidv7",
];

/// Beginnings of names of functions that tell what there is, or how the server is set up.
const LOOKING_UP: &[&str] = &[
    "col_description",
    "current_database",
    "current_schema",
    "current_setting",
    "format_type",
    "has_",
    "inet_",
    "obj_description",
    "pg_",
    "row_security_active",
    "shobj_description",
    "to_reg",
    "version",
];

/// Types whose values are names of things there are.
const NAMES_OF_THINGS: &[&str] = &[
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// Beginnings of names of well-known extensions that connect elsewhere or run SQL text.
const REACHING_OUT: &[&str] = &["connectby", "crosstab", "dblink", "pg_file_", "xpath_table"];

/// Stable functions of PostgreSQL that depend on nothing but their arguments and on settings that are the
/// same for every run of the statement in one identity: time zone, formats, the text search
/// configuration.
const STABLE_BUT_CONSTANT: &[&str] = &[
    "array_to_json",
    "array_to_string",
    "concat",
    "concat_ws",
    "date",
    "date_add",
    "date_part",
    "date_subtract",
    "date_trunc",
    "extract",
    "format",
    "generate_series",
    "json_agg",
    "json_agg_strict",
    "json_array",
    "json_build_array",
    "json_build_object",
    "json_object",
    "json_object_agg",
    "json_populate_record",
    "json_populate_recordset",
    "json_to_record",
    "json_to_recordset",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
    "make_timestamptz",
    "num_nonnulls",
    "num_nulls",
    "overlaps",
    "phraseto_tsquery",
    "plainto_tsquery",
    "quote_literal",
    "quote_nullable",
    "row_to_json",
    "string_agg",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "websearch_to_tsquery",
];

/// Goes through the functions that the text of a caller could call or has the names of. Gives why the answer can't be kept.
pub fn judge(text: &Text, found: &[Found], identity: Identity) -> Result<Vec<Unkept>, Refusal> {
    let mut unkept = Vec::new();
    let named = NAMES_OF_THINGS
        .iter()
        .find(|name| text.names.contains(**name) || text.names.contains(&format!("_{name}")));
    if let (Identity::Anonymous, Some(name)) = (identity, named) {
        return Err(Refusal::NeedsToken(format!("The type {name}")));
    }
    for function in found {
        let name = &function.name;
        if function.builtin {
            let harmless = WITHOUT_EFFECT.contains(&name.as_str());
            if is_dangerous(name) || (function.volatility == 'v' && !harmless) {
                return Err(Refusal::Function(name.clone()));
            }
            if !function.called {
                continue;
            }
            if identity == Identity::Anonymous && looks_up(name) {
                return Err(Refusal::NeedsToken(format!("The function {name}")));
            }
            if identity == Identity::Assume && !harmless && !is_harmless_builtin(name) {
                return Err(Refusal::NeedsLoginMode(name.clone()));
            }
        } else if REACHING_OUT.iter().any(|start| name.starts_with(start)) {
            return Err(Refusal::Function(name.clone()));
        } else if identity == Identity::Assume && !function.declared_safe {
            let name = format!("{}.{name}", function.schema);
            return Err(Refusal::NeedsLoginMode(name));
        }
        unkept.extend(why_unkept(function));
    }
    Ok(unkept)
}

/// Whether a function of PostgreSQL tells what there is.
pub(crate) fn looks_up(name: &str) -> bool {
    let harmless = WITHOUT_EFFECT.contains(&name) || is_harmless_builtin(name);
    !harmless || LOOKING_UP.iter().any(|start| name.starts_with(start))
}

/// Whether what a function gives can be kept, and why.
pub fn keeping(function: &Found) -> (bool, &'static str) {
    let constant = STABLE_BUT_CONSTANT.contains(&function.name.as_str());
    match (function.builtin, function.volatility, function.kind) {
        (true, 'i', _) => (true, "PostgreSQL's own, and immutable"),
        (true, 's', _) if constant => (
            true,
            "PostgreSQL's own, and known to depend on its arguments and on settings that are always the same here",
        ),
        (true, 's', _) => (
            false,
            "PostgreSQL's own and stable, and not known to depend on its arguments alone",
        ),
        (false, 'i', 'f') => (true, "declared immutable"),
        (false, 'i', _) => (
            false,
            "an aggregate or a window function, which says nothing of the functions it is made of",
        ),
        (false, 's', _) => (false, "declared stable: it may read anything"),
        _ => (false, "volatile"),
    }
}

/// Why what a function gives can't be kept.
pub(crate) fn why_unkept(function: &Found) -> Option<Unkept> {
    let (kept, _) = keeping(function);
    (!kept).then(|| Unkept::Function(format!("{}.{}", function.schema, function.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(found: &[Found], identity: Identity) -> Result<Vec<Unkept>, Refusal> {
        judge(&Text::read("select 1").expect("a query"), found, identity)
    }

    fn builtin(name: &str, volatility: char) -> Found {
        Found {
            oid: 1,
            schema: "pg_catalog".into(),
            name: name.into(),
            builtin: true,
            volatility,
            kind: 'f',
            called: true,
            declared_safe: false,
        }
    }

    fn users(name: &str, volatility: char, declared_safe: bool) -> Found {
        Found {
            schema: "api".into(),
            builtin: false,
            declared_safe,
            ..builtin(name, volatility)
        }
    }

    #[test]
    fn what_has_an_effect_never_runs() {
        for (name, volatility) in [
            ("set_config", 'v'),
            ("nextval", 'v'),
            ("pg_notify", 'v'),
            ("pg_sleep", 'v'),
            ("pg_advisory_lock", 'v'),
            ("table_to_xml", 's'),
            ("pg_read_file", 'v'),
        ] {
            for identity in [Identity::Login, Identity::Assume] {
                let found = [builtin(name, volatility)];
                assert!(judged(&found, identity).is_err(), "{name}");
            }
        }
        assert!(judged(&[users("dblink", 'v', true)], Identity::Login).is_err());
    }

    #[test]
    fn what_has_an_effect_is_not_mentioned_either() {
        let mentioned = |name, volatility| Found {
            called: false,
            ..builtin(name, volatility)
        };
        assert!(judged(&[mentioned("nextval", 'v')], Identity::Login).is_err());
        assert!(judged(&[mentioned("query_to_xml", 's')], Identity::Login).is_err());
        // Columns can be called like these.
        let columns = [
            mentioned("now", 's'),
            mentioned("random", 'v'),
            mentioned("ntile", 'i'),
        ];
        for identity in [Identity::Login, Identity::Assume, Identity::Anonymous] {
            assert_eq!(judged(&columns, identity), Ok(Vec::new()), "{identity:?}");
        }
    }

    #[test]
    fn in_assume_mode_only_what_is_known_runs() {
        let unknown = users("f", 'i', false);
        assert!(judged(std::slice::from_ref(&unknown), Identity::Login).is_ok());
        assert!(judged(&[unknown], Identity::Assume).is_err());
        assert!(judged(&[users("f", 'i', true)], Identity::Assume).is_ok());
        assert!(judged(&[builtin("pg_get_viewdef", 's')], Identity::Assume).is_err());
        assert!(judged(&[builtin("lower", 'i')], Identity::Assume).is_ok());
        // One of two overloads is enough.
        let both = [builtin("lower", 'i'), users("lower", 'i', false)];
        assert!(judged(&both, Identity::Assume).is_err());
    }

    #[test]
    fn only_what_depends_on_its_arguments_is_kept() {
        let kept = |found| judged(&[found], Identity::Login).expect("runs").is_empty();
        assert!(kept(builtin("lower", 'i')));
        assert!(kept(builtin("to_char", 's')));
        assert!(!kept(builtin("now", 's')));
        assert!(!kept(builtin("random", 'v')));
        assert!(!kept(builtin("current_setting", 's')));
        assert!(kept(users("f", 'i', false)));
        assert!(!kept(users("f", 's', false)));
        let mut aggregate = users("f", 'i', false);
        aggregate.kind = 'a';
        assert!(!kept(aggregate));
    }

    #[test]
    fn without_a_token_nobody_learns_what_there_is() {
        for name in [
            "to_regclass",
            "has_table_privilege",
            "pg_get_viewdef",
            "current_setting",
            "pg_table_size",
        ] {
            let found = [builtin(name, 's')];
            assert!(judged(&found, Identity::Anonymous).is_err(), "{name}");
            assert!(judged(&found, Identity::Login).is_ok(), "{name}");
        }
        for name in [
            "lower",
            "to_char",
            "now",
            "count",
            "random",
            "gen_random_uuid",
        ] {
            assert!(
                judged(&[builtin(name, 's')], Identity::Anonymous).is_ok(),
                "{name}"
            );
        }
        for sql in [
            "select 'a'::pg_catalog.regclass as a",
            "select '{a}'::_regtype as a",
            "select regrole('a') as a",
            "select ('a'::text).regproc as a",
        ] {
            let text = Text::read(sql).expect("a query");
            assert!(judge(&text, &[], Identity::Anonymous).is_err(), "{sql}");
            assert!(judge(&text, &[], Identity::Login).is_ok(), "{sql}");
        }
    }
}
