//! What an installation calls its schema and its roles.

use std::borrow::Cow;

/// The setting that carries the signed claims is the same in every installation.
const FIXED: &str = rolegate_model::claims::SETTING;

/// What follows `rolegate_` in the name of one of our roles.
const ROLES: [&str; 19] = [
    "owner",
    "migrator",
    "authenticator",
    "anonymous",
    "gateway",
    "worker",
    "receiver",
    "maintenance",
    "console",
    "replicator",
    "runtime",
    "operator",
    "viewer",
    "producer",
    "requester",
    "on_behalf",
    "grantor",
    "admitted",
    "publisher",
];

/// Key words that PostgreSQL accepts nowhere as an unquoted name.
const RESERVED: &str = " all analyse analyze and any array as asc asymmetric authorization binary \
    both case cast check collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp \
    current_user default deferrable desc distinct do else end except false fetch for foreign \
    freeze from full grant group having ilike in initially inner intersect into is isnull join \
    lateral leading left like limit localtime localtimestamp natural not notnull null offset on \
    only or order outer overlaps placing primary public references returning right select \
    session_user similar some symmetric system_user table tablesample then to trailing true union \
    unique user using variadic verbose when where window with ";

/// The schema and the prefix of the roles of one installation.
///
/// Both are plain lower-case words, so they mean the same quoted, unquoted, inside a string
/// literal and in `pg_ident.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    schema: String,
    role_prefix: String,
}

/// Why a name is not usable for an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// Not `[a-z][a-z0-9_]*`, or longer than 40 bytes.
    #[error(
        "a schema or role prefix is a lower-case word of at most 40 letters, digits and underscores"
    )]
    Shape,
    /// A key word, or a name that starts with `pg_`.
    #[error("the schema or role prefix is a word that PostgreSQL reserves")]
    Reserved,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            schema: "rolegate".to_owned(),
            role_prefix: "rolegate".to_owned(),
        }
    }
}

impl Names {
    /// Checks and keeps the two names. The prefix goes without its underscore.
    pub fn new(schema: &str, role_prefix: &str) -> Result<Self, NamesError> {
        for name in [schema, role_prefix] {
            let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
            let all_well = name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if !starts_well || !all_well || name.len() > 40 {
                return Err(NamesError::Shape);
            }
            if name.starts_with("pg_") || name == "pg" {
                return Err(NamesError::Reserved);
            }
        }
        // A prefix is only ever used with something behind it.
        if RESERVED.contains(&format!(" {schema} ")) {
            return Err(NamesError::Reserved);
        }
        Ok(Self {
            schema: schema.to_owned(),
            role_prefix: role_prefix.to_owned(),
        })
    }

    /// The schema.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The prefix of the roles, without the underscore.
    pub fn role_prefix(&self) -> &str {
        &self.role_prefix
    }

    /// The role with this last part: `role("gateway")` is `rolegate_gateway`.
    pub fn role(&self, last_part: &str) -> String {
        format!("{}_{last_part}", self.role_prefix)
    }

    /// All our roles.
    pub fn roles(&self) -> impl Iterator<Item = String> {
        ROLES.iter().map(|last_part| self.role(last_part))
    }

    /// `sql`, which is written with the default names, with the names of this installation.
    ///
    /// Works on whole words: `rolegate` is the schema, `rolegate_` and the names of our roles
    /// carry the prefix, and every other word stays, also if it begins with `rolegate`. The
    /// setting `rolegate.signed_claims` is the same everywhere.
    pub fn render<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        if *self == Self::default() {
            return Cow::Borrowed(sql);
        }
        let mut rendered = String::with_capacity(sql.len() + sql.len() / 8);
        let mut rest = sql;
        while let Some(start) = rest.find(is_word) {
            let word_length = rest[start..]
                .find(|c| !is_word(c))
                .unwrap_or(rest.len() - start);
            let (before, from_word) = rest.split_at(start);
            rendered.push_str(before);
            // The setting is two words with a dot between them; nothing may follow the second.
            let length =
                if from_word.starts_with(FIXED) && !from_word[FIXED.len()..].starts_with(is_word) {
                    rendered.push_str(FIXED);
                    FIXED.len()
                } else {
                    self.render_word(&from_word[..word_length], &mut rendered);
                    word_length
                };
            rest = &from_word[length..];
        }
        rendered.push_str(rest);
        Cow::Owned(rendered)
    }

    fn render_word(&self, word: &str, rendered: &mut String) {
        match word.strip_prefix("rolegate") {
            Some("") => rendered.push_str(&self.schema),
            Some(last) if last == "_" || last.strip_prefix('_').is_some_and(is_role) => {
                rendered.push_str(&self.role_prefix);
                rendered.push_str(last);
            }
            _ => rendered.push_str(word),
        }
    }
}

fn is_role(last_part: &str) -> bool {
    ROLES.contains(&last_part)
}

/// What can be inside an unquoted identifier.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other() -> Names {
        Names::new("gate", "acme").unwrap()
    }

    #[test]
    fn whole_words_are_replaced_and_nothing_else() {
        for (sql, expected) in [
            ("select rolegate.claims()", "select gate.claims()"),
            (
                "set search_path = pg_catalog, rolegate, pg_temp",
                "set search_path = pg_catalog, gate, pg_temp",
            ),
            (
                "grant x to rolegate_gateway, rolegate_on_behalf;",
                "grant x to acme_gateway, acme_on_behalf;",
            ),
            (
                "starts_with(r.rolname, 'rolegate_')",
                "starts_with(r.rolname, 'acme_')",
            ),
            (
                "current_setting('rolegate.signed_claims', true)",
                "current_setting('rolegate.signed_claims', true)",
            ),
            ("rolegate.signed_claims_x", "gate.signed_claims_x"),
            (
                "pg_notify('rolegate_events', '')",
                "pg_notify('rolegate_events', '')",
            ),
            (
                "myrolegate.x rolegatex rolegate$ größerolegate",
                "myrolegate.x rolegatex rolegate$ größerolegate",
            ),
            (
                "rolegate_ownership _rolegate_owner",
                "rolegate_ownership _rolegate_owner",
            ),
            ("rolegate", "gate"),
            ("", ""),
        ] {
            assert_eq!(other().render(sql), expected);
        }
    }

    #[test]
    fn the_default_names_change_nothing() {
        let sql = "select rolegate.claims() from rolegate_owner";
        assert!(matches!(Names::default().render(sql), Cow::Borrowed(same) if same == sql));
    }

    #[test]
    fn names_that_would_need_quotes_are_refused() {
        for name in [
            "",
            "Gate",
            "a b",
            "a\"b",
            "1a",
            "_a",
            "a-b",
            "a;b",
            "ä",
            &"a".repeat(41),
        ] {
            assert_eq!(Names::new(name, "ok"), Err(NamesError::Shape), "{name}");
            assert_eq!(Names::new("ok", name), Err(NamesError::Shape), "{name}");
        }
        for name in ["pg_x", "pg", "user", "public", "all"] {
            assert_eq!(Names::new(name, "ok"), Err(NamesError::Reserved), "{name}");
        }
        assert_eq!(Names::new("ok", "pg_x"), Err(NamesError::Reserved));
        assert!(Names::new("ok", "user").is_ok());
    }

    #[test]
    fn every_role_in_the_sql_is_one_of_the_list() {
        let rendered = other()
            .render(include_str!("sql/bootstrap.sql"))
            .into_owned();
        assert!(!rendered.contains("rolegate"), "{rendered}");
        for role in ROLES {
            assert!(rendered.contains(&format!("acme_{role}")), "{role}");
        }
    }
}
