//! A development installation: a database with our roles and schema, four people, their tokens.

mod people;
mod record;
mod seed;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rolegate_pg::cluster::{Cluster, Options, SocketEndpoint, Source};
use rolegate_pg::pools::PoolsConfig;
use rolegate_pg::quote;
use rolegate_pg::wire::{Endpoint, Login, TlsMode};
use rolegate_roles::names::Names;
use rolegate_roles::{bootstrap, migrate};
use rolegate_server::budget::DefaultBudget;
use rolegate_server::config::{DatabaseConfig, GatewayConfig, Mode};
use rolegate_server::console::ConsoleConfig;

pub(crate) use record::Record;

use crate::process::{ConsoleSurface, OldServers, Running, Surfaces};

/// The one database of a development installation.
pub(crate) const DATABASE: &str = "app";
/// Its exposed schema.
pub(crate) const SCHEMA: &str = "api";

/// What to set up.
#[derive(Debug)]
pub(crate) struct Development {
    pub(crate) data_dir: PathBuf,
    pub(crate) source: Source,
    pub(crate) example: Option<String>,
    pub(crate) gateway: SocketAddr,
    pub(crate) console: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

/// A running development installation.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) running: Running,
    pub(crate) record: Record,
    cluster: Cluster,
}

impl Development {
    /// Starts the cluster, makes what is missing, and serves.
    pub(crate) async fn start(self) -> anyhow::Result<Installation> {
        std::fs::create_dir_all(&self.data_dir)
            .with_context(|| self.data_dir.display().to_string())?;
        let data_dir = self.data_dir.canonicalize()?;
        let mut options = Options::new(data_dir.join("postgres"));
        options.source = self.source;
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line reads the environment"
        )]
        {
            options.search_path = std::env::var_os("PATH");
        }
        let cluster = Cluster::start(options)
            .await
            .context("the private cluster")?;
        let names = Names::default();
        let endpoint = cluster.endpoint();
        prepare_database(&cluster, &names).await?;
        let people = people::make(&cluster, &names, DATABASE).await?;
        let mut everyone = people;
        if let Some(example) = &self.example {
            everyone.extend(seed::load(&cluster, &names, example).await?);
        }
        let seal_key = seal_key(&data_dir)?;

        let surfaces = Surfaces {
            databases: vec![database_config(endpoint, &names)],
            gateway: GatewayConfig {
                dry_run: true,
                ..GatewayConfig::default()
            },
            issuers: Vec::new(),
            seal_key: Some(seal_key),
            password: Some(("127.0.0.1".to_owned(), cluster.port(), false)),
            gateway_bind: Some(self.gateway),
            console: Some(ConsoleSurface {
                listen: ConsoleConfig {
                    bind: self.console,
                    allow_public_bind: false,
                },
                max_connections: 512,
            }),
            metrics_bind: self.metrics,
            max_connections: 4096,
            shutdown: Duration::from_secs(30),
            old_servers: OldServers::Warn,
        };
        let running = surfaces.start().await?;
        let record = record::make(&cluster, &running, &everyone).await?;
        record.write(&data_dir)?;
        Ok(Installation {
            running,
            record,
            cluster,
        })
    }
}

impl Installation {
    /// Where the private cluster is.
    pub(crate) fn endpoint(&self) -> &SocketEndpoint {
        self.cluster.endpoint()
    }

    /// A connection of the cluster's superuser: the owner of the example, not one of our logins.
    pub(crate) async fn superuser(&self) -> anyhow::Result<tokio_postgres::Client> {
        Ok(self
            .cluster
            .endpoint()
            .connect("postgres", DATABASE)
            .await?)
    }

    /// Stops the surfaces, then the cluster.
    pub(crate) async fn stop(mut self) -> anyhow::Result<bool> {
        let clean = self.running.stop().await;
        self.cluster.stop().await.context("the private cluster")?;
        Ok(clean)
    }
}

async fn prepare_database(cluster: &Cluster, names: &Names) -> anyhow::Result<()> {
    let endpoint = cluster.endpoint();
    let admin = endpoint.connect("postgres", "postgres").await?;
    let exists = admin
        .query_opt(
            "select from pg_catalog.pg_database where datname = $1",
            &[&DATABASE],
        )
        .await?;
    if exists.is_none() {
        let sql = ["create database ", &quote::ident(DATABASE)].concat();
        admin.batch_execute(&sql).await?;
    }
    let superuser = endpoint.connect("postgres", DATABASE).await?;
    bootstrap::apply(&superuser, names)
        .await
        .context("bootstrap")?;
    let schema = ["create schema if not exists ", &quote::ident(SCHEMA)].concat();
    superuser.batch_execute(&schema).await?;
    let logins = superuser
        .query(
            "select r.rolname::text from pg_catalog.pg_roles r \
             where r.rolcanlogin and pg_catalog.starts_with(r.rolname, $1)",
            &[&names.role("")],
        )
        .await?;
    let logins: Vec<String> = logins.iter().map(|row| row.get(0)).collect();
    let logins: Vec<&str> = logins.iter().map(String::as_str).collect();
    cluster.admit(&logins).await.context("peer map")?;
    let mut migrator = endpoint.connect(&names.role("migrator"), DATABASE).await?;
    migrate::run(&mut migrator, names)
        .await
        .context("migrate")?;
    Ok(())
}

fn database_config(endpoint: &SocketEndpoint, names: &Names) -> DatabaseConfig {
    let endpoint = Endpoint {
        address: endpoint.address(),
        tls: TlsMode::Disable,
        database: DATABASE.to_owned(),
    };
    DatabaseConfig {
        name: DATABASE.to_owned(),
        schemas: vec![SCHEMA.to_owned()],
        engine_schema: names.schema().to_owned(),
        role_prefix: names.role_prefix().to_owned(),
        gateway: Login::peer(names.role("gateway")),
        authenticator: Login::peer(names.role("authenticator")),
        anonymous: Some(Login::peer(names.role("anonymous"))),
        mode: Mode::Login,
        modes: BTreeMap::new(),
        passwords: BTreeMap::new(),
        allowed_predefined_roles: Vec::new(),
        pools: PoolsConfig {
            endpoint: endpoint.clone(),
            schema: names.schema().to_owned(),
            max_connections: 64,
            max_connections_per_login: 16,
            max_waiting: 2048,
            wait_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(1),
            max_lifetime: Duration::from_mins(30),
        },
        own_connections: 4,
        poll_interval: Duration::from_millis(250),
        budget: DefaultBudget {
            concurrency: 1024,
            ..DefaultBudget::default()
        },
        endpoint,
    }
}

/// The key that seals the signing keys of this data directory, made on first use.
fn seal_key(data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    let path = data_dir.join("seal.key");
    if !path.exists() {
        let secret = people::secret();
        write_private(&path, secret.as_bytes())?;
    }
    crate::config::read_seal_key(&path)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    // Written beside and renamed, so that a reader never sees half of it.
    let partial = path.with_extension("partial");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .with_context(|| partial.display().to_string())?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    Ok(())
}
