//! The clusters of a test run: started, with the engine's roles and a migrated template database.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rolegate_pg::cluster::{self, Cluster, Options, Source, WHEEL_MAJOR};
use rolegate_pg::quote;
use rolegate_roles::bootstrap::{self, BootstrapError};
use rolegate_roles::migrate::{self, MigrateError};
use rolegate_roles::names::Names;
use tokio_postgres::Client;

use crate::clusters::{TestCluster, Version};

/// The database that tests clone.
const TEMPLATE: &str = "rolegate_template";

/// What to start, and with what.
#[derive(Debug, Clone)]
pub struct Provision {
    /// Where the clusters are made; one directory each.
    pub directory: PathBuf,
    /// Where the wheel is kept from run to run.
    pub cache_directory: PathBuf,
    /// The Python 3 that fetches it.
    pub python: PathBuf,
    /// The value of `PATH`.
    pub search_path: Option<OsString>,
    /// The version that stands for the oldest one: those in between are tried by hand.
    pub instead_of_15: Option<u32>,
}

/// Why a cluster cannot be used for tests.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// It cannot be had.
    #[error("{version} cannot be started; to test without it, use `--only {other}`")]
    Cluster {
        /// The version.
        version: Version,
        /// The other one.
        other: u32,
        /// Why not, with the command to run.
        #[source]
        source: cluster::Error,
    },
    /// The engine's roles cannot be made.
    #[error("the bootstrap failed")]
    Bootstrap(#[from] BootstrapError),
    /// The engine's schema cannot be made.
    #[error("the migration failed")]
    Migrate(#[from] MigrateError),
    /// The server refused something else.
    #[error("preparing the template database failed")]
    Postgres(#[from] tokio_postgres::Error),
    /// The engine's logins cannot be listed in the peer map.
    #[error("admitting the engine's logins failed")]
    Admit(#[source] cluster::Error),
}

/// A cluster and how tests reach it.
#[derive(Debug)]
pub struct Provisioned {
    /// Stop it before its directory goes away.
    pub cluster: Cluster,
    /// For the tests.
    pub record: TestCluster,
}

impl Provision {
    /// Starts one cluster and makes its template database.
    pub async fn start(&self, version: Version) -> Result<Provisioned, ProvisionError> {
        let mut cluster = self.start_cluster(version).await?;
        match prepare_template(&cluster).await {
            Ok(()) => {}
            Err(error) => {
                // The first error is the one to report.
                let _ = cluster.stop().await;
                return Err(error);
            }
        }
        let record = TestCluster {
            directory: cluster.directory().to_owned(),
            socket_dir: cluster.socket_dir().to_owned(),
            port: cluster.port(),
            os_user: cluster.os_user().to_owned(),
            template: TEMPLATE.to_owned(),
        };
        Ok(Provisioned { cluster, record })
    }

    /// The version that the wheel has comes from the wheel, so that every machine tests the same
    /// one; a server of the machine stands in for it where there is no wheel.
    async fn start_cluster(&self, version: Version) -> Result<Cluster, ProvisionError> {
        let system = Source::System {
            major: match (version, self.instead_of_15) {
                (Version::Pg15, Some(major)) => Some(major),
                _ => Some(version.major()),
            },
        };
        let started = if version.major() == WHEEL_MAJOR {
            match Cluster::start(self.options(version, Source::Wheel)).await {
                Err(no_wheel) => Cluster::start(self.options(version, system))
                    .await
                    .map_err(|_| no_wheel),
                started => started,
            }
        } else {
            Cluster::start(self.options(version, system)).await
        };
        started.map_err(|source| {
            let other = if version == Version::Pg15 { 18 } else { 15 };
            ProvisionError::Cluster {
                version,
                other,
                source,
            }
        })
    }

    fn options(&self, version: Version, source: Source) -> Options {
        Options {
            source,
            search_path: self.search_path.clone(),
            cache_directory: Some(self.cache_directory.clone()),
            python: self.python.clone(),
            durable: false,
            ..Options::new(self.directory.join(version.major().to_string()))
        }
    }
}

/// The place in the workspace's build directory where the wheel is kept.
pub fn default_cache_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres")
}

async fn prepare_template(cluster: &Cluster) -> Result<(), ProvisionError> {
    let names = Names::default();
    let endpoint = cluster.endpoint();
    let admin = endpoint.connect("postgres", "postgres").await?;
    let template = quote::ident(TEMPLATE);
    admin
        .batch_execute(&["create database ", &template].concat())
        .await?;

    let superuser = endpoint.connect("postgres", TEMPLATE).await?;
    bootstrap::apply(&superuser, &names).await?;
    let logins = engine_logins(&superuser).await?;
    let logins: Vec<&str> = logins.iter().map(String::as_str).collect();
    cluster
        .admit(&logins)
        .await
        .map_err(ProvisionError::Admit)?;
    drop(superuser);

    let mut migrator = endpoint.connect(&names.role("migrator"), TEMPLATE).await?;
    migrate::run(&mut migrator, &names).await?;
    drop(migrator);

    let seal = [
        "alter database ",
        &template,
        " with is_template true allow_connections false",
    ];
    admin.batch_execute(&seal.concat()).await?;
    Ok(())
}

async fn engine_logins(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client
        .query(
            "select r.rolname::text from pg_catalog.pg_roles r \
             where r.rolcanlogin and pg_catalog.starts_with(r.rolname, 'rolegate_')",
            &[],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
