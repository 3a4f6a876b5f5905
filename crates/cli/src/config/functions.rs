//! Kinds of jobs that are sent to functions: their sections, and what they come to.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use rolegate_auth::callback::Key;
use rolegate_auth::issuer::Secret;
use rolegate_outbound::{GateConfig, Guard, Target};
use rolegate_server::http_jobs::{CallBack, HttpKind, Mode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::callbacks::{DEFAULT_KEY_ID, key_of_file};
use super::function_headers::headers;
use super::function_rules::FunctionRules;
use super::tree::Config;

/// Where functions may be, and how their hosts are treated. For each worker process.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Outbound {
    /// Networks beside the public internet in which functions may be: `10.1.0.0/16`, one address.
    /// Only there requests go in plain text, too.
    pub(crate) allow_networks: Vec<String>,
    /// Requests to one host at the same time; 1 to 1000.
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "requests"))]
    pub(crate) max_per_host: usize,
    /// Failures in a row after which a host is left alone; 1 to 1000.
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "requests"))]
    pub(crate) breaker_failures: u32,
    /// Seconds before one request tries it again, doubled with each that fails up to five minutes;
    /// 1 to 300.
    #[schemars(range(min = 1, max = 300))]
    pub(crate) breaker_seconds: u64,
}

impl Default for Outbound {
    fn default() -> Self {
        let gate = GateConfig::default();
        Self {
            allow_networks: Vec::new(),
            max_per_host: gate.parallel,
            breaker_failures: gate.failures,
            breaker_seconds: gate.open.as_secs(),
        }
    }
}

/// A kind of jobs that is sent to a function.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpFunction {
    /// Where its jobs are sent, with POST: https, or http in `worker.outbound.allow_networks`.
    pub(crate) url: String,
    /// How the function says that it is done: `sync` by its answer, `async` by a call to a callback.
    #[serde(default)]
    pub(crate) mode: FunctionMode,
    /// Seconds until the last byte of its answer; 1 to 3600.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) timeout_seconds: u64,
    /// Headers of each request. Their values are not shown.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Secret>,
    /// Files with values of headers: name = file.
    #[serde(default)]
    pub(crate) header_files: BTreeMap<String, PathBuf>,
    /// The key that requests are signed with: its id in `worker.key_files`, or in the keys of
    /// `callbacks`. Absent: they are not signed.
    #[serde(default)]
    pub(crate) signing_key: Option<String>,
    /// Bytes of a request's body; 1024 to 16777216.
    #[serde(default = "default_bytes")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub(crate) max_request_bytes: usize,
    /// Bytes of an answer's body; 1024 to 16777216.
    #[serde(default = "default_bytes")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub(crate) max_response_bytes: usize,
    /// In async mode, the receiver's address as this function reaches it; absent:
    /// `worker.callback_base_url`.
    #[serde(default)]
    pub(crate) callback_base_url: Option<String>,
    /// In async mode, seconds the job waits for the call; 1 to 315360000.
    #[serde(default = "default_callback_timeout")]
    #[schemars(range(min = 1, max = 315_360_000))]
    pub(crate) callback_timeout_seconds: u64,
    /// In async mode, whether the function may have the job sent to it again, with a payload for the
    /// next step.
    #[serde(default)]
    pub(crate) resumable: bool,
    /// In async mode, send the signature of the callback's id (`X-Awa-Signature`) that functions
    /// made for Awa give back. The key has to be one of `callbacks`.
    #[serde(default)]
    pub(crate) legacy_signature: bool,
    /// In async mode, what the function's call means, told by its payload; absent: it counts.
    #[serde(default)]
    pub(crate) callback_rules: Option<FunctionRules>,
}

impl HttpFunction {
    /// With everything else as it is by default.
    pub(crate) fn at(url: &str, mode: FunctionMode) -> Self {
        Self {
            url: url.to_owned(),
            mode,
            timeout_seconds: default_timeout(),
            headers: BTreeMap::new(),
            header_files: BTreeMap::new(),
            signing_key: None,
            max_request_bytes: default_bytes(),
            max_response_bytes: default_bytes(),
            callback_base_url: None,
            callback_timeout_seconds: default_callback_timeout(),
            resumable: false,
            legacy_signature: false,
            callback_rules: None,
        }
    }
}

/// How a function says that it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FunctionMode {
    /// By its answer.
    #[default]
    Sync,
    /// By a call to a callback, later.
    Async,
}

fn default_timeout() -> u64 {
    30
}

fn default_bytes() -> usize {
    1024 * 1024
}

fn default_callback_timeout() -> u64 {
    3600
}

/// Functions that jobs are sent to.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    pub(crate) kinds: Vec<HttpKind>,
    pub(crate) guard: Guard,
    pub(crate) gate: GateConfig,
}

/// Turns the sections into functions.
pub(crate) fn functions(config: &Config) -> anyhow::Result<Functions> {
    let section = &config.worker.outbound;
    let allowed = section.allow_networks.iter().map(String::as_str);
    let guard = Guard::new(allowed).context("worker.outbound.allow_networks")?;
    let path = "worker.outbound";
    within(path, "max_per_host", section.max_per_host as u64, 1..=1000)?;
    let failures = u64::from(section.breaker_failures);
    within(path, "breaker_failures", failures, 1..=1000)?;
    within(path, "breaker_seconds", section.breaker_seconds, 1..=300)?;
    let kinds = config
        .worker
        .http
        .iter()
        .map(|(kind, section)| {
            let path = format!("worker.http.{kind}");
            function(config, &guard, kind, section, &path).context(path)
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Functions {
        kinds,
        guard,
        gate: GateConfig {
            parallel: section.max_per_host,
            failures: section.breaker_failures,
            open: Duration::from_secs(section.breaker_seconds),
            ..GateConfig::default()
        },
    })
}

fn within(path: &str, key: &str, value: u64, bounds: RangeInclusive<u64>) -> anyhow::Result<()> {
    anyhow::ensure!(
        bounds.contains(&value),
        "{path}.{key} is {value}; it must be between {} and {}",
        bounds.start(),
        bounds.end()
    );
    Ok(())
}

fn function(
    config: &Config,
    guard: &Guard,
    kind: &str,
    section: &HttpFunction,
    path: &str,
) -> anyhow::Result<HttpKind> {
    anyhow::ensure!(
        (1..=200).contains(&kind.chars().count()),
        "a kind has 1 to 200 characters"
    );
    within(path, "timeout_seconds", section.timeout_seconds, 1..=3600)?;
    for (key, bytes) in [
        ("max_request_bytes", section.max_request_bytes),
        ("max_response_bytes", section.max_response_bytes),
    ] {
        within(path, key, bytes as u64, 1024..=16_777_216)?;
    }
    let waits = section.callback_timeout_seconds;
    within(path, "callback_timeout_seconds", waits, 1..=315_360_000)?;
    let target = Target::new(&section.url, guard).context("url")?;
    let mode = match section.mode {
        FunctionMode::Async => Mode::Async(call_back(config, section)?),
        FunctionMode::Sync => {
            anyhow::ensure!(
                !section.resumable && !section.legacy_signature && section.callback_rules.is_none(),
                "resumable, legacy_signature and callback_rules are about callbacks, and mode is \
                 not \"async\""
            );
            Mode::Sync
        }
    };
    Ok(HttpKind {
        kind: kind.to_owned(),
        target,
        mode,
        timeout: Duration::from_secs(section.timeout_seconds),
        headers: headers(section)?,
        key: section
            .signing_key
            .as_deref()
            .map(|id| signing_key(config, id, section.legacy_signature))
            .transpose()
            .context("signing_key")?,
        max_request: section.max_request_bytes,
        max_answer: section.max_response_bytes,
    })
}

fn call_back(config: &Config, section: &HttpFunction) -> anyhow::Result<CallBack> {
    let base = section
        .callback_base_url
        .as_ref()
        .or(config.worker.callback_base_url.as_ref())
        .context(
            "mode is \"async\" and there is no callback_base_url: the function has to know where \
             to call; set it here, or worker.callback_base_url",
        )?;
    let well_formed = reqwest::Url::parse(base).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    anyhow::ensure!(
        well_formed,
        "callback_base_url is no address of a receiver, such as https://callbacks.example.org"
    );
    anyhow::ensure!(
        !section.legacy_signature || section.signing_key.is_some(),
        "legacy_signature needs a signing_key"
    );
    Ok(CallBack {
        base_url: base.clone(),
        prefix: config.callbacks.prefix.clone(),
        timeout: Duration::from_secs(section.callback_timeout_seconds),
        resumable: section.resumable,
        legacy_signature: section.legacy_signature,
        rules: section
            .callback_rules
            .as_ref()
            .map(FunctionRules::rules)
            .transpose()
            .context("callback_rules")?,
    })
}

/// The key of this id. A key of `callbacks` also answers callbacks; one of the worker's does not.
fn signing_key(config: &Config, id: &str, answers: bool) -> anyhow::Result<Key> {
    let callbacks = &config.callbacks;
    let own = config.worker.key_files.get(id);
    let theirs = callbacks.key_files.get(id);
    let secret = (id == DEFAULT_KEY_ID)
        .then_some(callbacks.secret.as_ref())
        .flatten();
    anyhow::ensure!(
        usize::from(own.is_some()) + usize::from(theirs.is_some()) + usize::from(secret.is_some())
            <= 1,
        "there are two keys `{id}`, in worker.key_files and in callbacks"
    );
    if let Some(path) = own {
        anyhow::ensure!(
            !answers,
            "legacy_signature answers callbacks: its key has to be in callbacks.key_files, and \
             `{id}` is in worker.key_files"
        );
        return key_of_file(id, path).with_context(|| format!("worker.key_files.{id}"));
    }
    if let Some(path) = theirs {
        return key_of_file(id, path).with_context(|| format!("callbacks.key_files.{id}"));
    }
    match secret {
        Some(secret) => Key::from_secret(id, secret).context("callbacks.secret"),
        None => anyhow::bail!(
            "there is no key `{id}`; name its file in worker.key_files, or in callbacks.key_files"
        ),
    }
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format as _, Serialized, Toml};

    use super::*;

    fn of(text: &str) -> anyhow::Result<Functions> {
        let figment = Figment::from(Serialized::defaults(Config::default()));
        let config: Config = figment.merge(Toml::string(text)).extract().expect("a tree");
        functions(&config)
    }

    fn refused(text: &str) -> String {
        format!("{:#}", of(text).expect_err(text))
    }

    const URL: &str =
        "[worker.http.send_email]\nurl = \"https://functions.example/send?code=hunter2\"\n";

    #[test]
    fn a_url_is_enough() {
        let functions = of(URL).expect("valid");
        let [kind] = &*functions.kinds else {
            panic!("{functions:?}");
        };
        assert_eq!(kind.kind, "send_email");
        assert!(matches!(kind.mode, Mode::Sync));
        assert_eq!(kind.timeout, Duration::from_secs(30));
        assert!(kind.key.is_none());
        assert!(!format!("{functions:?}").contains("hunter2"));
        assert!(of("").expect("none").kinds.is_empty());
    }

    #[test]
    fn where_nothing_goes_is_refused_unless_it_is_allowed() {
        for url in [
            "http://127.0.0.1/x",
            "https://0x7f.1/x",
            "https://[::ffff:10.0.0.1]/x",
            "http://8.8.8.8/x",
            "ftp://functions.example/",
            "https://me:hunter2@functions.example/",
            "hunter2",
        ] {
            let text = format!("[worker.http.a]\nurl = \"{url}\"");
            let error = refused(&text);
            assert!(error.starts_with("worker.http.a: url: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let allowed = "[worker.outbound]\nallow_networks = [\"127.0.0.0/8\"]\n\
                       [worker.http.a]\nurl = \"http://127.0.0.1/x\"";
        assert!(of(allowed).is_ok());
        let error = refused("[worker.outbound]\nallow_networks = [\"0.0.0.0/0\"]");
        assert!(
            error.starts_with("worker.outbound.allow_networks: "),
            "{error}"
        );
    }

    #[test]
    fn a_callback_needs_an_address() {
        let asynchronous = format!("{URL}mode = \"async\"\n");
        let error = refused(&asynchronous);
        assert!(error.contains("no callback_base_url"), "{error}");
        let with = |base: &str| format!("{asynchronous}callback_base_url = \"{base}\"");
        for base in [
            "callbacks.example",
            "https://me@a.example",
            "https://a.example/?x=1",
        ] {
            assert!(
                refused(&with(base)).contains("no address of a receiver"),
                "{base}"
            );
        }
        let shared = format!(
            "worker.callback_base_url = \"https://a.example\"\ncallbacks.prefix = \"/hooks\"\n{asynchronous}"
        );
        for (text, expected) in [
            (
                &*with("https://b.example/x"),
                ("https://b.example/x", "/api/callbacks"),
            ),
            (&*shared, ("https://a.example", "/hooks")),
        ] {
            let functions = of(text).expect("valid");
            let Mode::Async(to) = &functions.kinds[0].mode else {
                panic!("{functions:?}");
            };
            assert_eq!((&*to.base_url, &*to.prefix), expected);
            assert!(!to.resumable && !to.legacy_signature);
        }
        for key in ["resumable", "legacy_signature"] {
            let error = refused(&format!("{URL}{key} = true"));
            assert!(error.contains("not \"async\""), "{error}");
        }
    }

    #[test]
    fn a_key_is_one_of_the_workers_or_one_of_the_callbacks() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("key");
        std::fs::write(&file, "07".repeat(32)).expect("our directory");
        let file = file.display();
        let own = format!("[worker.key_files]\nmine = \"{file}\"\n");
        let theirs = format!("[callbacks.key_files]\ntheirs = \"{file}\"\n");
        let secret = format!("[callbacks]\nsecret = \"{}\"\n", "08".repeat(32));
        let function = |id: &str, more: &str| {
            format!(
                "{URL}mode = \"async\"\ncallback_base_url = \"https://a.example\"\n\
                 signing_key = \"{id}\"\n{more}\n"
            )
        };
        let legacy = "legacy_signature = true";
        for (id, keys) in [("mine", &own), ("theirs", &theirs), ("default", &secret)] {
            let functions = of(&format!("{}{keys}", function(id, ""))).expect(id);
            let key = functions.kinds[0].key.as_ref().expect("a key");
            assert_eq!(key.id(), id);
            let with_legacy = of(&format!("{}{keys}", function(id, legacy)));
            assert_eq!(with_legacy.is_ok(), id != "mine", "{id}");
        }
        let error = refused(&function("nobody", ""));
        assert!(error.contains("there is no key `nobody`"), "{error}");
        let both = format!(
            "{}{own}{}",
            function("mine", ""),
            theirs.replace("theirs", "mine")
        );
        assert!(refused(&both).contains("there are two keys"));
        let unsigned =
            format!("{URL}mode = \"async\"\ncallback_base_url = \"https://a.example\"\n{legacy}");
        assert!(refused(&unsigned).contains("needs a signing_key"));
    }

    #[test]
    fn what_the_schema_says_of_numbers_is_what_is_checked() {
        let bounds = |schema: schemars::Schema, key: &str| {
            let property = &schema.as_value()["properties"][key];
            let bound = |name: &str| property[name].as_u64().expect(key);
            (bound("minimum"), bound("maximum"))
        };
        let mut checked = 0;
        for key in [
            "timeout_seconds",
            "max_request_bytes",
            "max_response_bytes",
            "callback_timeout_seconds",
        ] {
            let (min, max) = bounds(schemars::schema_for!(HttpFunction), key);
            for (value, fits) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
                assert_eq!(
                    of(&format!("{URL}{key} = {value}")).is_ok(),
                    fits,
                    "{key} {value}"
                );
            }
            checked += 1;
        }
        for key in ["max_per_host", "breaker_failures", "breaker_seconds"] {
            let (min, max) = bounds(schemars::schema_for!(Outbound), key);
            for (value, fits) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
                let text = format!("[worker.outbound]\n{key} = {value}");
                assert_eq!(of(&text).is_ok(), fits, "{key} {value}");
            }
            checked += 1;
        }
        assert_eq!(checked, 7);
    }
}
