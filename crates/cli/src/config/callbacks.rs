//! The callbacks surface: its section, and what it is built from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rolegate_auth::callback::{DEFAULT_PREFIX, Key, Verifier};
use rolegate_auth::issuer::Secret;
use rolegate_server::callbacks::{CallbacksConfig, Callers};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tree::Config;

/// The key id of `callbacks.secret`.
pub(super) const DEFAULT_KEY_ID: &str = "default";

/// The callbacks surface: answers from outside to jobs that wait.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Callbacks {
    /// Address to listen on.
    pub(crate) bind: SocketAddr,
    /// Path in front of the callbacks' ids.
    pub(crate) prefix: String,
    /// The database of the jobs; absent: the only one there is.
    pub(crate) database: Option<String>,
    /// Files with the keys that calls are signed with, 64 hex digits each: key id = file.
    pub(crate) key_files: BTreeMap<String, PathBuf>,
    /// A key in the configuration itself, with the id `default`: for an environment variable.
    pub(crate) secret: Option<Secret>,
    /// Accept signatures of the id alone (`X-Awa-Signature`).
    pub(crate) legacy_signatures: bool,
    /// Bytes of a request body.
    pub(crate) max_body_bytes: usize,
    /// Connections at the same time.
    #[schemars(extend("x-unit" = "connections"))]
    pub(crate) max_connections: usize,
}

impl Default for Callbacks {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8082)),
            prefix: DEFAULT_PREFIX.to_owned(),
            database: None,
            key_files: BTreeMap::new(),
            secret: None,
            legacy_signatures: false,
            max_body_bytes: 1024 * 1024,
            max_connections: 256,
        }
    }
}

/// A callbacks surface to run.
#[derive(Debug)]
pub(crate) struct CallbacksSurface {
    pub(crate) listen: CallbacksConfig,
    /// The database of the jobs.
    pub(crate) database: String,
}

/// What the flags of `serve` say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) bind: Option<SocketAddr>,
    pub(crate) allow_unsigned: bool,
}

/// Turns the section into a surface.
pub(crate) fn callbacks(config: &Config, flags: Flags) -> anyhow::Result<CallbacksSurface> {
    let section = &config.callbacks;
    let mut names = config.databases.keys();
    let database = if let Some(name) = &section.database {
        anyhow::ensure!(
            config.databases.contains_key(name),
            "callbacks.database: no database of this name is configured"
        );
        name.clone()
    } else {
        let name = names.next().cloned();
        anyhow::ensure!(
            names.next().is_none(),
            "callbacks.database has to say which database's jobs are called back"
        );
        name.unwrap_or_default()
    };
    surface(section, database, flags)
}

/// The surface for the jobs of this database.
pub(crate) fn surface(
    section: &Callbacks,
    database: String,
    flags: Flags,
) -> anyhow::Result<CallbacksSurface> {
    Ok(CallbacksSurface {
        listen: CallbacksConfig {
            bind: flags.bind.unwrap_or(section.bind),
            prefix: section.prefix.clone(),
            callers: callers(section, flags.allow_unsigned)?,
            max_body_bytes: section.max_body_bytes,
            body_timeout: Duration::from_secs(10),
            max_connections: section.max_connections,
        },
        database,
    })
}

/// Without the path in its errors: it may be the key in the wrong place.
pub(super) fn key_of_file(id: &str, path: &Path) -> anyhow::Result<Key> {
    let text = std::fs::read_to_string(path)?;
    Ok(Key::from_hex(id, &text)?)
}

fn callers(section: &Callbacks, allow_unsigned: bool) -> anyhow::Result<Callers> {
    let mut keys = Vec::new();
    for (id, path) in &section.key_files {
        keys.push(key_of_file(id, path).with_context(|| format!("callbacks.key_files.{id}"))?);
    }
    if let Some(secret) = &section.secret {
        keys.push(Key::from_secret(DEFAULT_KEY_ID, secret).context("callbacks.secret")?);
    }
    if keys.is_empty() {
        anyhow::ensure!(
            allow_unsigned,
            "callbacks.key_files names no key: anybody could end anybody's jobs; make one with: \
             openssl rand -hex 32"
        );
        anyhow::ensure!(
            !section.legacy_signatures,
            "callbacks.legacy_signatures is set, and there is no key"
        );
        return Ok(Callers::Unsigned);
    }
    anyhow::ensure!(
        !allow_unsigned,
        "--allow-unsigned is given, and there are keys: one of the two is not meant"
    );
    let verifier = Verifier::new(keys).context("callbacks.key_files")?;
    Ok(Callers::Signed(
        verifier.accept_legacy(section.legacy_signatures),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(section: Callbacks, databases: &[&str]) -> Config {
        let database = serde_json::json!({ "url": "postgresql://localhost/app" });
        Config {
            callbacks: section,
            databases: databases
                .iter()
                .map(|name| {
                    let database = serde_json::from_value(database.clone()).expect("a section");
                    ((*name).to_owned(), database)
                })
                .collect(),
            ..Config::default()
        }
    }

    fn secret(text: &str) -> Callbacks {
        Callbacks {
            secret: Some(Secret::new(text.to_owned())),
            ..Callbacks::default()
        }
    }

    #[test]
    fn it_does_not_start_without_a_key_unless_that_is_said_by_name() {
        let none = config(Callbacks::default(), &["app"]);
        let error = callbacks(&none, Flags::default()).expect_err("refused");
        assert!(error.to_string().contains("callbacks.key_files"), "{error}");
        let unsigned = Flags {
            allow_unsigned: true,
            ..Flags::default()
        };
        let surface = callbacks(&none, unsigned).expect("unsigned");
        assert!(matches!(surface.listen.callers, Callers::Unsigned));
        let keyed = config(secret(&"07".repeat(32)), &["app"]);
        assert!(callbacks(&keyed, Flags::default()).is_ok());
        assert!(callbacks(&keyed, unsigned).is_err());
        let legacy = Callbacks {
            legacy_signatures: true,
            ..Callbacks::default()
        };
        assert!(callbacks(&config(legacy, &["app"]), unsigned).is_err());
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_not_shown() {
        let error = callbacks(&config(secret("hunter2"), &["app"]), Flags::default());
        let error = format!("{:?}", error.expect_err("refused"));
        assert!(error.contains("64 hexadecimal digits"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn of_several_databases_one_is_named() {
        let several = config(secret(&"07".repeat(32)), &["a", "b"]);
        assert!(callbacks(&several, Flags::default()).is_err());
        let mut named = several;
        named.callbacks.database = Some("b".to_owned());
        let surface = callbacks(&named, Flags::default()).expect("b");
        assert_eq!(surface.database, "b");
        named.callbacks.database = Some("c".to_owned());
        assert!(callbacks(&named, Flags::default()).is_err());
    }
}
