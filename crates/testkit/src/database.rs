//! A database of its own for each test, cloned from the migrated template.

mod connections;
mod removal;
mod roles;

use std::sync::Mutex;

use rolegate_pg::cluster::SocketEndpoint;
use rolegate_pg::quote;
use rolegate_pg::wire::Endpoint;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::clusters::{Clusters, TestCluster, Version};

pub use roles::Admitted;

/// A fresh database with the engine's schema in it. It and its roles are removed when this goes
/// out of scope, whatever is still connected.
///
/// Its methods fail the test when the server refuses what they need.
#[derive(Debug)]
pub struct TestDatabase {
    version: Version,
    cluster: TestCluster,
    name: String,
    roles: Mutex<Vec<String>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
    removed: bool,
}

impl TestDatabase {
    /// Clones the template of `version`.
    pub async fn create(version: Version) -> Self {
        let cluster = Clusters::from_environment().get(version).clone();
        Self::create_in(version, cluster).await
    }

    /// The same in a cluster of the test's own, which it may stop.
    pub async fn create_in(version: Version, cluster: TestCluster) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let database = Self {
            version,
            cluster,
            name,
            roles: Mutex::default(),
            connections: Mutex::default(),
            removed: false,
        };
        if let Err(error) = database.clone_template().await {
            panic!("cloning the template database on {version}: {error:?}");
        }
        database
    }

    async fn clone_template(&self) -> Result<(), tokio_postgres::Error> {
        let client = self.endpoint().connect("postgres", "postgres").await?;
        let create = [
            "create database ",
            &quote::ident(&self.name),
            " template ",
            &quote::ident(&self.cluster.template),
        ];
        client.batch_execute(&create.concat()).await?;
        let statements = client
            .query(
                include_str!("sql/copy_privileges.sql"),
                &[&self.cluster.template, &self.name],
            )
            .await?;
        for row in &statements {
            client.batch_execute(row.try_get(0)?).await?;
        }
        Ok(())
    }

    /// The version it is on.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster it is in.
    pub fn cluster(&self) -> &TestCluster {
        &self.cluster
    }

    /// The cluster's socket.
    pub fn endpoint(&self) -> SocketEndpoint {
        self.cluster.endpoint()
    }

    /// The same database for the wire client. Unix sockets are never encrypted, so `tls` only
    /// matters to a caller that changes the address.
    pub fn wire_endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.endpoint().address(),
            tls: rolegate_pg::wire::TlsMode::Disable,
            database: self.name.clone(),
        }
    }

    /// How `role` connects to this database through the socket.
    pub fn config(&self, role: &str) -> tokio_postgres::Config {
        self.endpoint().config(role, &self.name)
    }

    /// How `role` connects to this database over TCP, with its password.
    pub fn password_config(&self, role: &str, password: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.cluster.port)
            .user(role)
            .password(password)
            .dbname(&self.name);
        config
    }

    /// Removes the database and its roles now, failing the test if that cannot be done.
    pub async fn drop(mut self) {
        self.removed = true;
        self.end_connections().await;
        if let Err(error) = self.removal().run().await {
            panic!("removing the test database {}: {error:?}", self.name);
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if !self.removed {
            self.removal().run_blocking();
        }
    }
}

/// Connects and drives the connection in a task of its own.
async fn connect(
    config: &tokio_postgres::Config,
) -> Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let task = tokio::spawn(async move {
        // Its error reaches whoever uses the client.
        let _ = connection.await;
    });
    Ok((client, task))
}
