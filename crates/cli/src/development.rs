//! A development installation: a database with our roles and schema, four people, their tokens.

mod given;
mod inventory;
mod made;
mod people;
mod record;
mod seed;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rolegate_jobs::WorkerConfig;
use rolegate_pg::cluster::Admissions;
use rolegate_pg::pools::PoolsConfig;
use rolegate_pg::quote;
use rolegate_replication::FeedBounds;
use rolegate_roles::names::Names;
use rolegate_roles::{bootstrap, migrate};
use rolegate_server::budget::DefaultBudget;
use rolegate_server::config::{DatabaseConfig, GatewayConfig, LiveBounds, Queries, QueryCache};
use rolegate_server::console::ConsoleConfig;
use rolegate_server::serve::ListenLimits;
use secrecy::SecretString;

pub(crate) use record::Record;
pub(crate) use seed::NAMES as EXAMPLES;
pub(crate) use server::Postgres;

use made::Made;
use people::Person;
use server::Server;

use crate::config::{
    self, CallbacksFlags, CallbacksSection, CallbacksSurface, Config, FunctionMode, Functions,
    HttpFunction,
};
use crate::process::{ConsoleSurface, OldServers, ReplicationSurface, Running, Surfaces};

/// The one database of a development installation, in paths and in a private cluster.
pub(crate) const DATABASE: &str = "app";
/// Its exposed schema.
pub(crate) const SCHEMA: &str = "api";

/// What to set up.
#[derive(Debug)]
pub(crate) struct Development {
    pub(crate) data_dir: PathBuf,
    pub(crate) postgres: Postgres,
    /// Use a given database also if there is something in its cluster already.
    pub(crate) yes: bool,
    pub(crate) example: Option<String>,
    pub(crate) gateway: SocketAddr,
    pub(crate) console: SocketAddr,
    pub(crate) callbacks: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// Kinds of jobs that are sent to functions.
    pub(crate) functions: Vec<Function>,
    /// Origins from which pages may call the gateway.
    pub(crate) allowed_origins: Vec<String>,
}

/// A kind of jobs that is sent to a function.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) kind: String,
    pub(crate) url: String,
    pub(crate) mode: FunctionMode,
}

/// Where functions may be beside the public internet: on this machine, in containers, next door.
const NEAR: [&str; 6] = [
    "127.0.0.0/8",
    "::1",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

/// A running development installation.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) running: Running,
    pub(crate) record: Record,
    server: Server,
}

impl Development {
    /// Starts the cluster or looks at the given one, makes what is missing, and serves.
    pub(crate) async fn start(self) -> anyhow::Result<Installation> {
        let example = self.example.as_deref().map(seed::find).transpose()?;
        std::fs::create_dir_all(&self.data_dir)
            .with_context(|| self.data_dir.display().to_string())?;
        let data_dir = self.data_dir.canonicalize()?;
        let names = Names::default();
        let mut server = Server::start(self.postgres, &data_dir, &names, example, self.yes).await?;
        prepare_database(&mut server, &names).await?;
        let mut everyone = people::make(&mut server, &names).await?;
        if let Some(example) = example {
            everyone.extend(seed::load(&mut server, &names, example).await?);
        }
        let superuser = server.superuser().await?;
        people::let_operator_mint(&mut server, &superuser, &everyone).await?;
        drop(superuser);
        if server.is_private() {
            publish(&server, &names).await?;
        }
        let seal_key = seal_key(&data_dir)?;
        let callbacks = callbacks(&data_dir, self.callbacks)?;
        let functions = functions(&data_dir, self.callbacks, &self.functions)?;

        let surfaces = Surfaces {
            databases: vec![database_config(&server, &names, &everyone)],
            gateway: GatewayConfig {
                dry_run: true,
                allowed_origins: self.allowed_origins,
                ..GatewayConfig::default()
            },
            issuers: Vec::new(),
            seal_key: Some(seal_key),
            key_life: Duration::from_hours(30 * 24),
            password: server.password_target(),
            gateway_bind: Some(self.gateway),
            console: Some(ConsoleSurface {
                listen: ConsoleConfig {
                    bind: self.console,
                    allow_public_bind: false,
                },
                max_connections: 512,
            }),
            callbacks: Some(callbacks),
            worker: Some(WorkerConfig::default()),
            functions,
            crons: Some(BTreeMap::new()),
            replication: server.is_private().then(ReplicationSurface::default),
            feed_bounds: FeedBounds::default(),
            metrics_bind: self.metrics,
            listen: ListenLimits::default(),
            shutdown: Duration::from_secs(30),
            old_servers: OldServers::Warn,
        };
        let running = surfaces.start().await?;
        let record = record::make(&server, &running, &everyone).await?;
        record.write(&data_dir)?;
        Ok(Installation {
            running,
            record,
            server,
        })
    }
}

impl Installation {
    /// A connection of one of our own logins.
    pub(crate) async fn login(&self, role: &str) -> anyhow::Result<tokio_postgres::Client> {
        self.server.login(role).await
    }

    /// A connection of the database's superuser: the owner of the example, not one of our logins.
    pub(crate) async fn superuser(&self) -> anyhow::Result<tokio_postgres::Client> {
        self.server.superuser().await
    }

    /// Stops the surfaces, then the cluster.
    pub(crate) async fn stop(mut self) -> anyhow::Result<bool> {
        let clean = self.running.stop().await;
        self.server.stop().await?;
        Ok(clean)
    }
}

async fn prepare_database(server: &mut Server, names: &Names) -> anyhow::Result<()> {
    let superuser = server.superuser().await?;
    bootstrap::apply(&superuser, names)
        .await
        .context("bootstrap")?;
    let schema = ["create schema if not exists ", &quote::ident(SCHEMA)].concat();
    superuser.batch_execute(&schema).await?;
    let logins: Vec<String> = names.roles().collect();
    let rows = superuser
        .query(
            "select r.rolname::text from pg_catalog.pg_roles r \
             where r.rolcanlogin and r.rolname = any ($1)",
            &[&logins],
        )
        .await?;
    let logins: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    server.let_in(&superuser, names, &logins).await?;
    let mut migrator = server.login(&names.role("migrator")).await?;
    migrate::run(&mut migrator, names)
        .await
        .context("migrate")?;
    Ok(())
}

/// Publishes the tables of the exposed schema, and those of the example: a private cluster has what a change
/// stream needs. In a database that is somebody else's, event triggers are not ours to make.
async fn publish(server: &Server, names: &Names) -> anyhow::Result<()> {
    let mut superuser = server.superuser().await?;
    let rows = superuser
        .query(
            "select n.nspname::text from pg_catalog.pg_namespace n where n.nspname = any ($1)",
            &[&vec![SCHEMA, "app"]],
        )
        .await?;
    let schemas: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let of = crate::command::installation(names);
    rolegate_replication::publication::sync(&mut superuser, &of, &schemas)
        .await
        .context("replication sync")?;
    Ok(())
}

fn database_config(server: &Server, names: &Names, people: &[Person]) -> DatabaseConfig {
    let endpoint = server.endpoint();
    let mode = server.mode();
    let others = people.iter().filter(|person| person.mode != mode);
    DatabaseConfig {
        name: DATABASE.to_owned(),
        schemas: vec![SCHEMA.to_owned()],
        engine_schema: names.schema().to_owned(),
        role_prefix: names.role_prefix().to_owned(),
        gateway: server.wire_login(names.role("gateway")),
        authenticator: server.wire_login(names.role("authenticator")),
        anonymous: Some(server.wire_login(names.role("anonymous"))),
        mode,
        modes: others
            .map(|person| (person.role.clone(), person.mode))
            .collect(),
        passwords: own_passwords(server, names),
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
        imported_tokens: false,
        queries: Queries::Public,
        query_catalogs: Vec::new(),
        query_cache: QueryCache::default(),
        purge_header: None,
        live: LiveBounds::default(),
        poll_interval: Duration::from_millis(250),
        budget: DefaultBudget {
            concurrency: 1024,
            ..DefaultBudget::default()
        },
        endpoint,
        direct: None,
        standby: None,
    }
}

/// Passwords of the logins of the surfaces beside the gateway, where the server asks for them.
fn own_passwords(server: &Server, names: &Names) -> BTreeMap<String, SecretString> {
    ["worker", "receiver", "maintenance", "replicator"]
        .iter()
        .filter_map(|last_part| {
            let login = server.wire_login(names.role(last_part));
            Some((login.user, login.password?))
        })
        .collect()
}

/// Who may log in to the private cluster of this data directory; none if its database is another.
pub(crate) fn admissions(data_dir: &Path) -> anyhow::Result<Option<Admissions>> {
    let record = Record::read(data_dir)?;
    let cluster = data_dir.join("postgres");
    if !cluster.is_dir() {
        return Ok(None);
    }
    let admissions = Admissions::of_cluster(&cluster)?;
    let ours = admissions.endpoint().url("postgres", DATABASE) == record.database_url;
    Ok(ours.then_some(admissions))
}

/// The password of one of our logins in a given database.
pub(crate) fn password_of(data_dir: &Path, login: &str) -> anyhow::Result<Option<SecretString>> {
    let made = Made::read(data_dir)?;
    Ok(made.and_then(|made| made.password(login)))
}

/// The key that seals the signing keys of this data directory, made on first use.
fn seal_key(data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    let path = data_dir.join("seal.key");
    if !path.exists() {
        let secret = people::secret();
        write_private(&path, secret.as_bytes())?;
    }
    crate::config::read_seal_key(&path).with_context(|| path.display().to_string())
}

/// The callbacks surface, with a key of this data directory, made on first use.
fn callbacks(data_dir: &Path, bind: SocketAddr) -> anyhow::Result<CallbacksSurface> {
    let path = data_dir.join("callbacks.key");
    if !path.exists() {
        write_private(&path, people::secret().as_bytes())?;
    }
    let section = CallbacksSection {
        bind,
        key_files: BTreeMap::from([("dev".to_owned(), path)]),
        ..CallbacksSection::default()
    };
    config::callbacks_surface(&section, DATABASE.to_owned(), CallbacksFlags::default())
}

/// The functions, which get requests signed with the key of the callbacks, and answer with it.
fn functions(
    data_dir: &Path,
    callbacks: SocketAddr,
    asked: &[Function],
) -> anyhow::Result<Functions> {
    let mut config = Config::default();
    let key = data_dir.join("callbacks.key");
    config.callbacks.key_files = BTreeMap::from([("dev".to_owned(), key)]);
    config.worker.callback_base_url = Some(format!("http://{callbacks}"));
    config.worker.outbound.allow_networks = NEAR.map(str::to_owned).to_vec();
    for Function { kind, url, mode } in asked {
        anyhow::ensure!(
            *mode == FunctionMode::Sync || callbacks.port() != 0,
            "--async-function {kind}: it has to know where to call; give --callbacks a port"
        );
        let mut function = HttpFunction::at(url, *mode);
        function.signing_key = Some("dev".to_owned());
        config.worker.http.insert(kind.clone(), function);
    }
    config::functions(&config)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn function(kind: &str, mode: FunctionMode) -> Function {
        Function {
            kind: kind.to_owned(),
            url: "http://127.0.0.1:3000/x".to_owned(),
            mode,
        }
    }

    #[test]
    fn functions_may_be_near_and_get_the_key_and_the_address_of_the_callbacks() {
        let dir = tempfile::tempdir().expect("a directory");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        callbacks(dir.path(), any_port).expect("a key");
        let asked = [
            function("a", FunctionMode::Sync),
            function("b", FunctionMode::Async),
        ];
        let error = functions(dir.path(), any_port, &asked).expect_err("no port");
        assert!(
            error.to_string().contains("give --callbacks a port"),
            "{error}"
        );
        assert!(functions(dir.path(), any_port, &asked[..1]).is_ok());
        let port = SocketAddr::from(([127, 0, 0, 1], 8082));
        let functions = functions(dir.path(), port, &asked).expect("two");
        for kind in &functions.kinds {
            assert_eq!(
                kind.key.as_ref().map(rolegate_auth::callback::Key::id),
                Some("dev"),
                "{}",
                kind.kind
            );
        }
        let rolegate_server::http_jobs::Mode::Async(to) = &functions.kinds[1].mode else {
            panic!("{functions:?}");
        };
        assert_eq!(to.base_url, "http://127.0.0.1:8082");
    }
}
