//! From the tree to what the surfaces are built from: addresses parsed, files read, exclusive
//! choices made.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rolegate_jobs::WorkerConfig;
use rolegate_pg::pools::PoolsConfig;
use rolegate_pg::wire::Login;
use rolegate_replication::FeedBounds;
use rolegate_server::budget::DefaultBudget;
use rolegate_server::config::{DatabaseConfig, GatewayConfig, Mode, Queries, QueryCache};
use rolegate_server::serve::ListenLimits;
use secrecy::SecretString;

use super::address::{channel_binding, endpoint};
use super::tree::{self, Config};
use super::{bounds, live, purge, replication};
use crate::process::ReplicationSurface;

/// What is served.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) databases: Vec<DatabaseConfig>,
    pub(crate) gateway: GatewayConfig,
    pub(crate) listen: ListenLimits,
    pub(crate) worker: WorkerConfig,
    pub(crate) replication: ReplicationSurface,
    pub(crate) feed_bounds: FeedBounds,
    /// Bytes of the key that seals our signing keys.
    pub(crate) seal_key: Option<Vec<u8>>,
    /// How long a signing key of ours signs.
    pub(crate) key_life: Duration,
}

/// Turns the configuration into a plan.
pub(crate) fn plan(config: &Config) -> anyhow::Result<Plan> {
    if config.databases.is_empty() {
        anyhow::bail!(
            "no database is configured; add [databases.NAME] with url = \"postgresql://HOST/DATABASE\""
        );
    }
    let databases = config
        .databases
        .iter()
        .map(|(name, section)| database(name, section).with_context(|| format!("databases.{name}")))
        .collect::<anyhow::Result<_>>()?;
    let seal_key = config
        .signing
        .seal_key_file
        .as_deref()
        .map(read_seal_key)
        .transpose()
        .context("signing.seal_key_file")?;
    bounds::check(&config.gateway)?;
    // A key of ours verifies for as long after it has signed, and no longer.
    let longest = rolegate_auth::signing::LONGEST_TOKEN
        .as_secs()
        .unsigned_abs();
    if !(1..=longest).contains(&config.login.token_seconds) {
        anyhow::bail!(
            "login.token_seconds is {}; it must be between 1 and {longest}",
            config.login.token_seconds
        );
    }
    let days = config.signing.key_days;
    if !(1..=3650).contains(&days) {
        anyhow::bail!("signing.key_days is {days}; it must be between 1 and 3650");
    }
    Ok(Plan {
        databases,
        gateway: gateway(config),
        listen: listen(&config.gateway),
        worker: worker(config)?,
        replication: replication::surface(&config.replication)?,
        feed_bounds: replication::feed_bounds(&config.replication)?,
        seal_key,
        key_life: Duration::from_hours(days * 24),
    })
}

fn worker(config: &Config) -> anyhow::Result<WorkerConfig> {
    let section = &config.worker;
    if section.queues.is_empty() {
        anyhow::bail!("worker.queues is empty: a worker needs a queue");
    }
    if !(1..=1000).contains(&section.concurrency) {
        anyhow::bail!(
            "worker.concurrency is {}; it must be between 1 and 1000",
            section.concurrency
        );
    }
    for (queue, weight) in &section.weights {
        if !section.queues.contains(queue) {
            anyhow::bail!("worker.weights.{queue}: the queue is not in worker.queues");
        }
        if !(1..=1000).contains(weight) {
            anyhow::bail!("worker.weights.{queue} is {weight}; it must be between 1 and 1000");
        }
    }
    let seconds = section.deadline_seconds;
    Ok(WorkerConfig {
        name: "rolegate serve worker".to_owned(),
        queues: section.queues.clone(),
        weights: section.weights.clone(),
        concurrency: section.concurrency,
        prefetch: section.prefetch,
        deadline: (seconds > 0).then(|| Duration::from_secs(seconds)),
        shutdown: Duration::from_secs(section.shutdown_seconds),
        ..WorkerConfig::default()
    })
}

fn gateway(config: &Config) -> GatewayConfig {
    let section = &config.gateway;
    GatewayConfig {
        max_body_bytes: section.max_body_bytes,
        body_timeout: Duration::from_secs(section.body_timeout_seconds),
        max_batch: section.max_batch,
        batch_concurrency: section.batch_concurrency,
        dry_run: section.dry_run,
        visible_headers: section.visible_headers.clone(),
        allowed_origins: section.allowed_origins.clone(),
        public_url: section.public_url.clone(),
        idempotency_ttl: Duration::from_secs(section.idempotency_ttl_seconds),
        idempotency_wait: Duration::from_secs(section.idempotency_wait_seconds),
        login_token_ttl: Duration::from_secs(config.login.token_seconds),
        max_streams: section.max_streams,
        heartbeat: Duration::from_secs(section.heartbeat_seconds),
        check_again: Duration::from_secs(section.check_again_seconds),
        ..GatewayConfig::default()
    }
}

fn listen(section: &tree::Gateway) -> ListenLimits {
    ListenLimits {
        max_connections: section.max_connections,
        header_timeout: Duration::from_secs(section.head_timeout_seconds),
        write_timeout: Duration::from_secs(section.write_timeout_seconds),
        max_head_bytes: section.max_head_bytes,
        max_streams: section.max_http2_streams,
    }
}

fn database(name: &str, section: &tree::Database) -> anyhow::Result<DatabaseConfig> {
    let binding = channel_binding(section.channel_binding);
    let own = endpoint(&section.url, section.tls, binding).context("url")?;
    // That there is none on the way to a pooler beside us says nothing of this one.
    let tls = section.tls.filter(|required| *required);
    let other = |url: &Option<String>| {
        let url = url.as_deref();
        url.map(|url| endpoint(url, tls, binding)).transpose()
    };
    let direct = other(&section.direct_url).context("direct_url")?;
    let standby = other(&section.standby_url).context("standby_url")?;
    let decoded = &direct.as_ref().unwrap_or(&own).database;
    if let Some(standby) = &standby {
        anyhow::ensure!(
            standby.database == *decoded,
            "standby_url names the database {:?}, and not {decoded:?}: a standby has the same databases",
            standby.database
        );
    }
    let passwords = section
        .password_files
        .iter()
        .map(|(role, path)| {
            let text = std::fs::read_to_string(path)
                // Without the path: it may be a password in the wrong place.
                .with_context(|| format!("password_files.{role}"))?;
            Ok((
                role.clone(),
                SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned()),
            ))
        })
        .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let login = |part: &str| {
        let user = format!("{}_{part}", section.role_prefix);
        Login {
            password: passwords.get(&user).cloned(),
            user,
        }
    };
    let pool = &section.pool;
    let budget = &section.budget;
    Ok(DatabaseConfig {
        name: name.to_owned(),
        schemas: section.schemas.clone(),
        engine_schema: section.engine_schema.clone(),
        role_prefix: section.role_prefix.clone(),
        gateway: login("gateway"),
        authenticator: login("authenticator"),
        anonymous: section.anonymous.then(|| login("anonymous")),
        mode: mode(section.mode),
        modes: section
            .modes
            .iter()
            .map(|(role, own)| (role.clone(), mode(*own)))
            .collect(),
        allowed_predefined_roles: section.allowed_predefined_roles.clone(),
        pools: PoolsConfig {
            endpoint: own.clone(),
            schema: section.engine_schema.clone(),
            max_connections: pool.max_connections,
            max_connections_per_login: pool.max_connections_per_login,
            max_waiting: pool.max_waiting,
            wait_timeout: Duration::from_millis(pool.wait_timeout_ms),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(pool.idle_timeout_seconds),
            max_lifetime: Duration::from_secs(pool.max_lifetime_seconds),
        },
        own_connections: 4,
        imported_tokens: section.api_tokens.imported,
        queries: match section.query.answers {
            tree::Queries::Off => Queries::Off,
            tree::Queries::Private => Queries::Private,
            tree::Queries::Public => Queries::Public,
        },
        query_catalogs: section.query.catalogs.clone(),
        query_cache: QueryCache {
            bytes: section.query.cache_bytes,
            max_age: Duration::from_secs(section.query.cursor_max_age_seconds),
            fresh: Duration::from_secs(section.query.max_age_seconds),
            stale: Duration::from_secs(section.query.stale_while_revalidate_seconds),
        },
        purge_header: purge::header(name, &section.query)?,
        live: live::bounds(&section.query.live)?,
        poll_interval: Duration::from_millis(section.poll_interval_ms),
        budget: DefaultBudget {
            requests_per_second: budget.requests_per_second,
            concurrency: budget.concurrency,
            statement_timeout: Duration::from_millis(budget.statement_timeout_ms),
            max_rows: budget.max_rows,
            max_bytes: budget.max_bytes,
        },
        endpoint: own,
        direct,
        standby,
        passwords,
    })
}

fn mode(mode: tree::Mode) -> Mode {
    match mode {
        tree::Mode::Login => Mode::Login,
        tree::Mode::Assume => Mode::Assume,
    }
}

/// Reads 64 hex digits.
pub(crate) fn read_seal_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    // Without the path: it may be the key in the wrong place.
    let text = std::fs::read_to_string(path)?;
    let text = text.trim();
    let valid = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    anyhow::ensure!(
        valid,
        "the file must hold 64 hex digits; make one with: openssl rand -hex 32"
    );
    (0..32)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).context("hex"))
        .collect()
}

#[cfg(test)]
mod tests {
    use figment::providers::Format as _;
    use rolegate_pg::wire::{Address, ChannelBinding, Endpoint, TlsMode};

    use super::*;
    use crate::config::address::password_target;

    fn endpoint(url: &str, tls: Option<bool>) -> anyhow::Result<Endpoint> {
        super::endpoint(url, tls, ChannelBinding::Require)
    }

    #[test]
    fn urls_become_endpoints() {
        let tcp = endpoint("postgresql://db.example:6432/app", None).expect("valid");
        assert_eq!(
            tcp.address,
            Address::Tcp {
                host: "db.example".into(),
                port: 6432
            }
        );
        assert_eq!(tcp.tls, TlsMode::VerifyFull(ChannelBinding::Require));
        let local = endpoint("postgresql://127.0.0.1/app", None).expect("valid");
        assert_eq!(local.tls, TlsMode::Disable);
        let socket = endpoint("postgresql://%2Frun%2Fpg:5555/app", None).expect("valid");
        assert_eq!(
            socket.address,
            Address::Unix {
                directory: "/run/pg".into(),
                port: 5555
            }
        );
    }

    #[test]
    fn credentials_in_a_url_and_plain_text_over_a_network_are_refused() {
        for url in ["postgresql://me@db/app", "postgresql://me:secret@db/app"] {
            let error = endpoint(url, None).expect_err("refused").to_string();
            assert!(error.contains("password_files"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(endpoint("postgresql://db.example/app", Some(false)).is_err());
        assert!(endpoint("postgresql://db.example", None).is_err());
    }

    #[test]
    fn every_bound_of_the_gateway_gets_where_it_counts() {
        let text = "[gateway]\nmax_connections = 2\nmax_head_bytes = 9001\nhead_timeout_seconds = 3\n\
                    body_timeout_seconds = 4\nwrite_timeout_seconds = 5\nmax_http2_streams = 6\n\
                    heartbeat_seconds = 7\ncheck_again_seconds = 8\n\
                    [databases.app]\nurl = \"postgresql://localhost/app\"";
        let read = |text: &str| -> Config {
            let read = figment::Figment::from(figment::providers::Toml::string(text)).extract();
            read.expect("valid")
        };
        let Plan {
            gateway, listen, ..
        } = plan(&read(text)).expect("a plan");
        assert_eq!(listen.max_connections, 2);
        assert_eq!(listen.max_head_bytes, 9001);
        assert_eq!(listen.header_timeout, Duration::from_secs(3));
        assert_eq!(gateway.body_timeout, Duration::from_secs(4));
        assert_eq!(listen.write_timeout, Duration::from_secs(5));
        assert_eq!(listen.max_streams, 6);
        assert_eq!(gateway.heartbeat, Duration::from_secs(7));
        assert_eq!(gateway.check_again, Duration::from_secs(8));
        let beyond = text.replace("= 9001", "= 8191");
        let error = plan(&read(&beyond)).expect_err("refused").to_string();
        assert!(
            error.starts_with("gateway.max_head_bytes is 8191"),
            "{error}"
        );
    }

    #[test]
    fn a_direct_address_has_tls_of_its_own() {
        let direct = |text: &str| {
            let text = format!("[databases.app]\n{text}");
            let config: Config = figment::Figment::from(figment::providers::Toml::string(&text))
                .extract()
                .expect("valid");
            let plan = plan(&config)?;
            let database = &plan.databases[0];
            assert_eq!(database.pools.endpoint.address, database.endpoint.address);
            anyhow::Ok(database.direct.clone())
        };
        let url = "url = \"postgresql://127.0.0.1:6432/app\"";
        assert!(direct(url).expect("valid").is_none());
        for tls in ["", "tls = false"] {
            let text = format!("{url}\n{tls}\ndirect_url = \"postgresql://db.example/app\"");
            let endpoint = direct(&text).expect("valid").expect("set");
            assert_eq!(endpoint.tls, TlsMode::VerifyFull(ChannelBinding::Require));
        }
        let text = format!("{url}\ndirect_url = \"postgresql://me:secret@db.example/app\"");
        let error = format!("{:#}", direct(&text).expect_err("refused"));
        assert!(error.contains("databases.app: direct_url"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_standby_has_the_same_database_and_the_same_tls() {
        let standby = |text: &str| {
            let text = format!(
                "[databases.app]\nurl = \"postgresql://127.0.0.1:6432/pooled\"\n\
                 direct_url = \"postgresql://db1.example/app\"\n{text}"
            );
            let config: Config = figment::Figment::from(figment::providers::Toml::string(&text))
                .extract()
                .expect("valid");
            anyhow::Ok(plan(&config)?.databases[0].standby.clone())
        };
        assert!(standby("").expect("valid").is_none());
        for tls in ["", "tls = false"] {
            let text = format!("{tls}\nstandby_url = \"postgresql://db2.example/app\"");
            let endpoint = standby(&text).expect("valid").expect("set");
            assert_eq!(endpoint.tls, TlsMode::VerifyFull(ChannelBinding::Require));
        }
        for url in [
            "postgresql://db2.example/pooled",
            "postgresql://me:secret@db2.example/app",
        ] {
            let error = standby(&format!("standby_url = {url:?}")).expect_err("refused");
            let error = format!("{error:#}");
            assert!(error.contains("databases.app: standby_url"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    /// What one says of a binding is not said for the other.
    #[test]
    fn a_binding_is_given_up_only_where_that_is_written() {
        let tls = |database: &str, login: &str| {
            let text = format!(
                "[databases.app]\nurl = \"postgresql://db.example/app\"\n{database}\n\
                 [login]\naddress = \"db.example:5432\"\n{login}"
            );
            let config: Config = figment::Figment::from(figment::providers::Toml::string(&text))
                .extract()
                .expect("valid");
            let plan = plan(&config).expect("a plan");
            let login = password_target(&config.login).expect("valid").expect("set");
            let database = &plan.databases[0];
            assert_eq!(database.endpoint.tls, database.pools.endpoint.tls);
            (database.endpoint.tls, login.2)
        };
        let bound = TlsMode::VerifyFull(ChannelBinding::Require);
        let unbound = TlsMode::VerifyFull(ChannelBinding::Prefer);
        let prefer = "channel_binding = \"prefer\"";
        assert_eq!(tls("", ""), (bound, bound));
        assert_eq!(tls(prefer, ""), (unbound, bound));
        assert_eq!(tls("", prefer), (bound, unbound));
    }
}
