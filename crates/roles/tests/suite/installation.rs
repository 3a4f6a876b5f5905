//! An installation per test: a database of its own and roles with a prefix of its own, because
//! roles belong to the whole cluster.

use std::fmt::Write as _;
use std::time::Duration;

use rolegate_pg::catalog::{Catalog, CatalogConfig};
use rolegate_pg::own::OwnPool;
use rolegate_pg::wire::{Address, Endpoint, Login, TlsMode};
use rolegate_roles::verify::Report;
use rolegate_roles::{Names, bootstrap, migrate};
use rolegate_testkit::{Clusters, Version};
use tokio_postgres::{Client, Config, NoTls};

/// Of every role here. The socket's peer map has the roles of the default prefix only.
const PASSWORD: &str = "password";

/// The versions of this run.
pub(crate) fn versions() -> Vec<Version> {
    Clusters::from_environment().0.into_keys().collect()
}

pub(crate) struct Installation {
    pub(crate) names: Names,
    pub(crate) unique: String,
    pub(crate) cluster_directory: std::path::PathBuf,
    /// As a superuser, through the socket, to the cluster's own database.
    maintenance: Config,
    /// The same to the installation's database.
    socket: Config,
    /// With a password.
    tcp: Config,
}

impl Installation {
    /// Bootstrapped and migrated.
    pub(crate) async fn new(version: Version) -> Self {
        let db = Self::empty(version).await;
        db.bootstrap().await;
        migrate::run(&mut db.login("migrator").await, &db.names)
            .await
            .unwrap();
        db
    }

    /// An empty database.
    pub(crate) async fn empty(version: Version) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let clusters = Clusters::from_environment();
        let cluster = clusters.get(version);
        let name = format!("roles_{unique}");
        let maintenance = cluster.endpoint().config("postgres", "postgres");
        let client = open(&maintenance).await.unwrap();
        client
            .batch_execute(&format!("create database {name}"))
            .await
            .unwrap();
        let mut tcp = Config::new();
        tcp.host("127.0.0.1")
            .port(cluster.port)
            .dbname(&name)
            .password(PASSWORD);
        Self {
            names: Names::new("rolegate", &format!("t{unique}")).unwrap(),
            unique,
            cluster_directory: cluster.directory.clone(),
            maintenance,
            socket: cluster.endpoint().config("postgres", &name),
            tcp,
        }
    }

    /// Bootstrapped, and the logins get a password.
    pub(crate) async fn bootstrap(&self) {
        bootstrap::apply(&self.superuser().await, &self.names)
            .await
            .unwrap();
        self.run(&format!(
            "do $$ declare r name; begin
                for r in select rolname from pg_catalog.pg_roles
                    where rolcanlogin and starts_with(rolname, 'rolegate_') loop
                    execute format('alter role %I password %L', r, '{PASSWORD}');
                end loop;
            end $$"
        ))
        .await;
    }

    /// Takes the database and its roles away.
    pub(crate) async fn remove(self) {
        let client = open(&self.maintenance).await.unwrap();
        let drop = format!("drop database roles_{} with (force)", self.unique);
        client.batch_execute(&drop).await.unwrap();
        let drop = format!(
            "do $$ declare r name; begin
                for r in select rolname from pg_catalog.pg_roles where rolname ~ '{}' loop
                    execute format('drop role %I', r);
                end loop;
            end $$",
            self.unique
        );
        client.batch_execute(&drop).await.unwrap();
    }

    /// Needed where a test plants what only a superuser can plant.
    pub(crate) async fn superuser(&self) -> Client {
        open(&self.socket).await.unwrap()
    }

    /// A connection of one of the engine's logins, by the last part of its name.
    pub(crate) async fn login(&self, last_part: &str) -> Client {
        self.connect(&self.names.role(last_part)).await.unwrap()
    }

    /// What a gateway of this installation knows.
    pub(crate) async fn catalog(&self) -> Catalog {
        let endpoint = Endpoint {
            address: Address::Tcp {
                host: "127.0.0.1".to_owned(),
                port: self.tcp.get_ports()[0],
            },
            tls: TlsMode::Disable,
            database: self.tcp.get_dbname().unwrap().to_owned(),
        };
        let login = Login {
            user: self.names.role("gateway"),
            password: Some(PASSWORD.to_owned().into()),
        };
        let config = CatalogConfig {
            schemas: Vec::new(),
            engine_schema: self.names.schema().to_owned(),
            role_prefix: self.names.role_prefix().to_owned(),
            authenticator: self.names.role("authenticator"),
            allowed_predefined_roles: Vec::new(),
            poll_interval: Duration::from_millis(250),
        };
        let pool = OwnPool::new(&endpoint, &login, 1).unwrap();
        Catalog::open(pool, config).await.unwrap()
    }

    /// A connection as any role.
    pub(crate) async fn connect(&self, role: &str) -> Result<Client, tokio_postgres::Error> {
        open(self.tcp.clone().user(role)).await
    }

    /// A login role of an application, not admitted.
    pub(crate) async fn application_role(&self, name: &str) -> String {
        let role = format!("{name}_{}", self.unique);
        self.run(&format!("create role {role} login password '{PASSWORD}'"))
            .await;
        role
    }

    /// A person who operates the gateway and is a member of `of`.
    pub(crate) async fn operator(&self, of: &str) -> Client {
        let person = self.application_role("person").await;
        self.run(&format!("grant rolegate_operator, {of} to {person}"))
            .await;
        self.connect(&person).await.unwrap()
    }

    /// An application role that was admitted in login mode.
    pub(crate) async fn admitted_role(&self, name: &str) -> String {
        let role = self.application_role(name).await;
        let mode = rolegate_roles::admit::AdmitMode::Login {
            os_user: "gate",
            map: "rolegate",
        };
        rolegate_roles::admit::admit(&mut self.superuser().await, &self.names, &role, mode)
            .await
            .unwrap();
        role
    }

    /// Runs SQL with the default names as a superuser.
    pub(crate) async fn run(&self, sql: &str) {
        self.superuser()
            .await
            .batch_execute(&self.names.render(sql))
            .await
            .unwrap();
    }

    pub(crate) async fn verify(&self) -> Report {
        rolegate_roles::verify::verify(
            &self.names,
            |login| async move { self.connect(&login).await },
        )
        .await
        .unwrap()
    }
}

async fn open(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The SQLSTATE of a refusal.
pub(crate) fn sqlstate<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> String {
    let error = result.expect_err("the server must refuse this");
    error
        .code()
        .map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
