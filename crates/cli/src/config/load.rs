//! Reading the configuration: file, then environment, then flags. Variables of the systems people
//! come from are below all of ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};

use super::peers::{self, Note, Outcome};
use super::tree::Config;

/// A configuration and where its values come from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) figment: Figment,
    /// What became of variables of other systems.
    pub(crate) notes: Vec<Note>,
}

/// Where a configuration file is looked for when none is named.
const PLACES: [&str; 2] = ["rolegate.toml", "/etc/rolegate/rolegate.toml"];

/// Variables of the command line and of tests, which share the prefix.
const NOT_KEYS: [&str; 4] = ["config", "database", "data_dir", "test_clusters"];

impl Loaded {
    /// Warns of variables that are not ours and were looked at.
    pub(crate) fn warn(&self) {
        for note in &self.notes {
            let (variable, peers) = (&note.variable, &note.peers);
            match &note.outcome {
                Outcome::ReadAs(ours) => {
                    tracing::warn!(variable, peers, ours, "foreign_variable_read");
                }
                Outcome::Ignored(reason) => {
                    tracing::warn!(variable, peers, reason, "foreign_variable_ignored");
                }
                // `config check` has them.
                Outcome::NotYet(_) | Outcome::Never(_) => {}
            }
        }
    }
}

/// Reads the configuration. A file that was named must exist; others are optional.
pub(crate) fn load(named: Option<&Path>) -> anyhow::Result<Loaded> {
    load_with(named, &std::env::vars_os().filter_map(text).collect())
}

/// Variables that are not text are none of ours.
fn text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn load_with(
    named: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<Loaded> {
    let file = match named {
        Some(path) if !path.is_file() => {
            anyhow::bail!("there is no configuration file {}", path.display());
        }
        Some(path) => Some(path.to_owned()),
        None => PLACES.iter().map(PathBuf::from).find(|path| path.is_file()),
    };
    let mut ours = Figment::new();
    if let Some(file) = file {
        ours = ours.merge(Toml::file_exact(file));
    }
    ours = ours.merge(Env::prefixed("ROLEGATE_").split("__").ignore(&NOT_KEYS));

    let configured = |path: &str| ours.find_value(path).is_ok();
    let (values, notes) = peers::translate(environment, &configured);
    // Defaults are part of the tree, so that every value has a source.
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    for value in values {
        figment = figment.merge(value);
    }
    figment = figment.merge(ours);
    let config = figment
        .extract()
        .map_err(|error| anyhow::anyhow!("configuration: {}", describe(error)))?;
    Ok(Loaded {
        config,
        figment,
        notes,
    })
}

/// What is wrong, and where. Never with the value, which may be a secret in the wrong place.
fn describe(error: figment::Error) -> String {
    let mut text = String::new();
    for error in error {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let path = error.path.join(".");
        let what = match &error.kind {
            Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
                format!("expected {expected}, found {}", kind(actual))
            }
            Kind::UnknownField(name, expected) => format!(
                "there is no key `{name}`; there is: {}",
                expected.join(", ")
            ),
            Kind::UnknownVariant(_, expected) => {
                format!("expected one of: {}", expected.join(", "))
            }
            Kind::Unsupported(actual) => format!("{} has no place here", kind(actual)),
            Kind::MissingField(name) => format!("`{name}` is missing"),
            other => other.to_string(),
        };
        let separator = if path.is_empty() { "" } else { ": " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{path}{separator}{what}");
        if let Some(metadata) = &error.metadata {
            let _ = match &metadata.source {
                Some(source) => write!(text, " ({source})"),
                None => write!(text, " ({})", metadata.name),
            };
        }
    }
    text
}

fn kind(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        Ok(with(text, &[])?.config)
    }

    /// A file and variables of others.
    fn with(text: &str, variables: &[(&str, &str)]) -> anyhow::Result<Loaded> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("rolegate.toml");
        std::fs::write(&path, text)?;
        let variables = variables.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        load_with(Some(&path), &variables.collect())
    }

    fn outcome<'a>(loaded: &'a Loaded, variable: &str) -> &'a Outcome {
        let note = loaded.notes.iter().find(|note| note.variable == variable);
        &note
            .unwrap_or_else(|| panic!("{variable} is not mentioned"))
            .outcome
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let config = parse("").expect("valid");
        assert_eq!(config.gateway.bind.port(), 8080);
        assert!(config.databases.is_empty());
    }

    #[test]
    fn unknown_keys_are_refused_with_their_path() {
        let error = parse("[gateway]\nbindd = \"127.0.0.1:1\"")
            .expect_err("refused")
            .to_string();
        assert!(error.contains("gateway"), "{error}");
        assert!(error.contains("no key `bindd`"), "{error}");
    }

    #[test]
    fn a_database_needs_no_more_than_a_url() {
        let config = parse("[databases.app]\nurl = \"postgresql://localhost/app\"").expect("valid");
        assert_eq!(config.databases["app"].schemas, ["api"]);
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for text in [
            "gateway = \"hunter2\"",
            "log.format = \"hunter2\"",
            "[databases]\napp = \"postgresql://me:hunter2@db/app\"",
            "[[issuers]]\nname = \"a\"\naudiences = \"any\"\nkeys = \"hunter2\"",
            "[[issuers]]\nname = \"a\"\naudiences = 5\nkeys = { jwks_url = \"hunter2\" }",
            "[[issuers]]\nname = \"a\"\naudiences = \"any\"\nkeys = { shared_secret = [\"hunter2\"] }",
            "issuers = \"hunter2\"",
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    const PGARACHNE: [(&str, &str); 9] = [
        ("DB_HOST", "127.0.0.1"),
        ("DB_PORT", "5433"),
        ("DB_NAME", "my app"),
        ("DB_USER", "pgarachne"),
        ("HTTP_PORT", "9000"),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("JWT_EXPIRY_HOURS", "2"),
        ("ALLOWED_ORIGINS", "https://a.example, https://b.example"),
        ("LOG_LEVEL", "DEBUG"),
    ];

    #[test]
    fn variables_of_pgarachne_are_read() {
        let loaded = with("", &PGARACHNE).expect("valid");
        let config = &loaded.config;
        assert_eq!(
            config.databases["my app"].url,
            "postgresql://127.0.0.1:5433/my%20app"
        );
        assert_eq!(config.gateway.bind.to_string(), "127.0.0.1:9000");
        assert_eq!(config.login.token_seconds, 7200);
        assert_eq!(config.log.level, "debug");
        assert_eq!(
            config.gateway.allowed_origins,
            ["https://a.example", "https://b.example"]
        );
        let [issuer] = &*config.issuers else {
            panic!("{:?}", config.issuers);
        };
        assert_eq!(issuer.name, "environment");
        assert_eq!(
            outcome(&loaded, "HTTP_PORT"),
            &Outcome::ReadAs("gateway.bind".to_owned())
        );
        assert!(matches!(outcome(&loaded, "DB_USER"), Outcome::Never(_)));
        crate::config::plan(config).expect("it can be served");
    }

    #[test]
    fn ours_win_over_theirs() {
        let loaded = with(
            "gateway.bind = \"127.0.0.1:1\"\n\
             [databases.ours]\nurl = \"postgresql://localhost/ours\"\n\
             [[issuers]]\nname = \"ours\"\naudiences = [\"a\"]\nkeys = { jwks_url = \"https://a\" }",
            &PGARACHNE,
        )
        .expect("valid");
        assert_eq!(loaded.config.gateway.bind.port(), 1);
        assert_eq!(loaded.config.databases.keys().collect::<Vec<_>>(), ["ours"]);
        assert_eq!(loaded.config.issuers.len(), 1);
        for variable in ["HTTP_PORT", "DB_HOST", "JWT_SECRET"] {
            let outcome = outcome(&loaded, variable);
            assert!(matches!(outcome, Outcome::Ignored(_)), "{outcome:?}");
        }
    }

    #[test]
    fn variables_of_postgrest_are_read() {
        let loaded = with(
            "",
            &[
                (
                    "PGRST_DB_URI",
                    "postgresql://authenticator:hunter2@db.example:6432/app",
                ),
                ("PGRST_DB_SCHEMAS", "api, private"),
                ("PGRST_DB_POOL", "20"),
                ("PGRST_DB_POOL_ACQUISITION_TIMEOUT", "3"),
                ("PGRST_DB_MAX_ROWS", "100"),
                ("PGRST_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
                ("PGRST_JWT_AUD", "mine"),
                ("PGRST_JWT_ROLE_CLAIM_KEY", ".realm.role"),
                ("PGRST_SERVER_HOST", "!4"),
                ("PGRST_SERVER_PORT", "3000"),
                ("PGRST_ADMIN_SERVER_PORT", "3001"),
            ],
        )
        .expect("valid");
        let database = &loaded.config.databases["app"];
        assert_eq!(database.url, "postgresql://db.example:6432/app");
        assert_eq!(database.schemas, ["api", "private"]);
        assert_eq!(database.pool.max_connections, 20);
        assert_eq!(database.pool.wait_timeout_ms, 3000);
        assert_eq!(database.budget.max_rows, 100);
        assert_eq!(loaded.config.gateway.bind.to_string(), "0.0.0.0:3000");
        assert_eq!(loaded.config.metrics.bind.to_string(), "127.0.0.1:3001");
        let issuer = serde_json::to_value(&loaded.config.issuers[0]).expect("data");
        assert_eq!(issuer["audiences"], serde_json::json!(["mine"]));
        assert_eq!(issuer["role_claims"], serde_json::json!(["realm.role"]));
    }

    #[test]
    fn variables_of_pgpaw_are_read() {
        let theirs = [
            ("UPSTREAM_HOST", "127.0.0.1"),
            ("UPSTREAM_PORT", "5433"),
            ("UPSTREAM_DATABASE", "app"),
            ("UPSTREAM_USER", "postgres"),
            ("UPSTREAM_PASSWORD", "hunter2"),
            ("UPSTREAM_SSLMODE", "disable"),
            ("UPSTREAM_PUBLICATION", "pgpaw_pub"),
            ("UPSTREAM_SLOT", "pgpaw_slot"),
            ("PGPAW_HOST", "0.0.0.0"),
            ("PGPAW_PORT", "9000"),
            ("PGPAW_MAX_CONNECTIONS", "8"),
            ("PGPAW_CACHE_SIZE_BYTES", "1048576"),
            ("PGPAW_DATA_DIR", "./cache-data"),
            ("PGPAW_CACHE_SIZE", "1048576"),
            ("CORS_ORIGIN", "https://a.example"),
            ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            ("JWT_ROLE_CLAIM", "pg_role"),
        ];
        let loaded = with("", &theirs).expect("valid");
        let database = &loaded.config.databases["app"];
        assert_eq!(database.url, "postgresql://127.0.0.1:5433/app");
        assert_eq!(database.tls, Some(false));
        assert_eq!(database.pool.max_connections, 8);
        assert_eq!(database.query.cache_bytes, 1_048_576);
        assert_eq!(loaded.config.gateway.bind.to_string(), "0.0.0.0:9000");
        assert_eq!(loaded.config.gateway.allowed_origins, ["https://a.example"]);
        let issuer = serde_json::to_value(&loaded.config.issuers[0]).expect("data");
        assert_eq!(issuer["role_claims"], serde_json::json!(["pg_role"]));
        let read = Outcome::ReadAs("databases.NAME.query.cache_bytes".to_owned());
        assert_eq!(outcome(&loaded, "PGPAW_CACHE_SIZE_BYTES"), &read);
        for variable in ["UPSTREAM_PUBLICATION", "UPSTREAM_SLOT", "PGPAW_DATA_DIR"] {
            let outcome = outcome(&loaded, variable);
            assert!(matches!(outcome, Outcome::Never(_)), "{outcome:?}");
        }
        // One that PgPaw would not know either.
        let unknown = outcome(&loaded, "PGPAW_CACHE_SIZE");
        assert!(matches!(unknown, Outcome::Ignored(_)), "{unknown:?}");
        assert!(!format!("{:?}", loaded.notes).contains("hunter2"));

        // What there is no variable for there is said beside them.
        let ours = "[databases.app.query]\nanswers = \"public\"\ncache_bytes = 4096";
        let loaded = with(ours, &theirs).expect("valid");
        let database = &loaded.config.databases["app"];
        assert_eq!(database.url, "postgresql://127.0.0.1:5433/app");
        assert_eq!(database.query.cache_bytes, 4096);
        assert_eq!(database.pool.max_connections, 8);
        let ignored = outcome(&loaded, "PGPAW_CACHE_SIZE_BYTES");
        assert!(matches!(ignored, Outcome::Ignored(_)), "{ignored:?}");
        let another = with("[databases.ours.query]\nanswers = \"public\"", &theirs);
        let error = another.expect_err("it has no URL").to_string();
        assert!(error.contains("url"), "{error}");
    }

    #[test]
    fn an_issuer_whose_limits_cannot_be_read_is_not_made() {
        let loaded = with(
            "",
            &[
                ("PGRST_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
                ("PGRST_JWT_ROLE_CLAIM_KEY", ".roles[?(@ == \"x\")]"),
            ],
        )
        .expect("valid");
        assert!(loaded.config.issuers.is_empty());
        let outcome = outcome(&loaded, "PGRST_JWT_SECRET");
        assert!(matches!(outcome, Outcome::Ignored(_)), "{outcome:?}");
    }

    #[test]
    fn half_an_address_and_other_surfaces_give_nothing() {
        let loaded = with(
            "",
            &[
                ("DB_HOST", "db"),
                ("DB_MAX_OPEN_CONNS", "5"),
                ("JWT_ISSUER", "https://idp"),
                ("AWA_TRACE_CAPTURE", "off"),
                ("DATABASE_URL", "postgresql://me:hunter2@db/app"),
                ("HTTP_PORT", ""),
                ("LOG_LEVEL", "loud"),
            ],
        )
        .expect("valid");
        assert_eq!(
            serde_json::to_value(&loaded.config).expect("data"),
            serde_json::to_value(Config::default()).expect("data")
        );
        for variable in ["DB_HOST", "DB_MAX_OPEN_CONNS", "JWT_ISSUER", "LOG_LEVEL"] {
            let outcome = outcome(&loaded, variable);
            assert!(matches!(outcome, Outcome::Ignored(_)), "{outcome:?}");
        }
        assert_eq!(
            outcome(&loaded, "AWA_TRACE_CAPTURE"),
            &Outcome::NotYet("worker".to_owned())
        );
        assert!(!format!("{:?}", loaded.notes).contains("hunter2"));
    }
}
