//! Lists of words.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Words that are refused wherever they stand unquoted.
pub(crate) const DYNAMIC: &[&str] = &["execute", "prepare", "deallocate"];

/// Words that end a transaction, refused wherever they stand unquoted.
pub(crate) const TRANSACTION: &[&str] = &["commit", "rollback"];

/// Words of commands on the session, refused wherever they stand unquoted.
pub(crate) const SESSION: &[&str] = &["reset", "discard", "listen", "unlisten"];

/// Commands that are refused where a statement starts; elsewhere the words have other uses
/// (`update ... set`, `on conflict do`).
pub(crate) const COMMANDS: &[&str] = &[
    "abort",
    "alter",
    "analyze",
    "checkpoint",
    "cluster",
    "comment",
    "copy",
    "create",
    "do",
    "drop",
    "grant",
    "import",
    "load",
    "notify",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "revoke",
    "savepoint",
    "security",
    "set",
    "start",
    "vacuum",
];

/// Words after which a statement can start. `then`, `else` and `loop` also stand in expressions,
/// where none of the commands can follow.
pub(crate) const OPENERS: &[&str] = &["begin", "then", "else", "loop"];

/// Built-in or well-known functions that run SQL text, read tables by name or change the session:
/// named for the sake of the message, anything else that is not on the list is refused as well.
pub(crate) const DANGEROUS: &[&str] = &[
    "set_config",
    "ts_stat",
    "ts_rewrite",
    "pg_cancel_backend",
    "pg_terminate_backend",
    "pg_reload_conf",
    "pg_logical_emit_message",
    "connectby",
    "crosstab",
    "xpath_table",
];

/// Beginnings of such names.
pub(crate) const DANGEROUS_PREFIXES: &[&str] = &[
    "dblink",
    "lo_",
    "query_to_",
    "table_to_",
    "cursor_to_",
    "schema_to_",
    "database_to_",
    "pg_read_",
    "pg_ls_",
    "pg_file_",
    "crosstab",
];

/// Words that stand before a parenthesis without being called. Some of them can be the name of a
/// function, so a known function of the name is looked at all the same.
pub(crate) const SYNTAX: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "assert",
    "between",
    "by",
    "call",
    "case",
    "check",
    "close",
    "collate",
    "conflict",
    "continue",
    "cube",
    "cursor",
    "declare",
    "default",
    "delete",
    "desc",
    "distinct",
    "do",
    "else",
    "elseif",
    "elsif",
    "end",
    "escape",
    "except",
    "exists",
    "exit",
    "fetch",
    "filter",
    "first",
    "for",
    "foreach",
    "from",
    "full",
    "get",
    "group",
    "groups",
    "having",
    "if",
    "ilike",
    "in",
    "inner",
    "insert",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "like",
    "limit",
    "loop",
    "materialized",
    "merge",
    "move",
    "natural",
    "next",
    "not",
    "notnull",
    "null",
    "of",
    "offset",
    "on",
    "only",
    "operator",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "perform",
    "query",
    "raise",
    "return",
    "returning",
    "reverse",
    "rollup",
    "row",
    "rows",
    "select",
    "set",
    "sets",
    "similar",
    "slice",
    "some",
    "strict",
    "then",
    "to",
    "union",
    "update",
    "using",
    "values",
    "when",
    "where",
    "while",
    "window",
    "with",
    "within",
];

/// Whether a function of this name is one of PostgreSQL's own that are known to be harmless.
pub fn is_harmless_builtin(name: &str) -> bool {
    BUILTINS.contains(name)
}

/// One name a line.
static BUILTINS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("builtins.txt").lines().collect());

/// Whether a function of this name is one of PostgreSQL's own that are not known to be harmless and can be called with
/// one value, so that a point in front of the name is enough.
pub(crate) fn takes_one_value(name: &str) -> bool {
    UNARY.contains(name)
}

/// One name a line; of all versions.
static UNARY: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("unary.txt").lines().collect());

/// Whether a function of this name is dangerous in any schema.
pub fn is_dangerous(name: &str) -> bool {
    DANGEROUS.contains(&name)
        || DANGEROUS_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Whether the word can stand before a parenthesis without being called.
pub fn is_syntax(word: &str) -> bool {
    SYNTAX.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_builtins_holds_nothing_dangerous() {
        for name in BUILTINS.iter() {
            assert!(!is_dangerous(name), "{name}");
            assert!(!name.contains("to_xml"), "{name}");
        }
        for name in UNARY.iter() {
            assert!(!is_harmless_builtin(name), "{name}");
        }
        assert!(is_harmless_builtin("upper"));
        assert!(!is_harmless_builtin("uppe"));
    }
}
