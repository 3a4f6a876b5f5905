//! Where a development installation's database is: in a private cluster, or where somebody said.

use std::path::Path;

use anyhow::Context as _;
use rolegate_pg::cluster::{Cluster, Options, Source};
use rolegate_pg::quote;
use rolegate_pg::wire::{Address, Endpoint, Login, TlsMode};
use rolegate_roles::admit::{AdmitMode, admit};
use rolegate_roles::names::Names;
use rolegate_server::config::Mode;
use secrecy::SecretString;
use tokio_postgres::Client;

use super::DATABASE;
use super::given::Given;
use super::seed::Example;

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) enum Postgres {
    /// A private cluster, run by a server from there.
    Private(Source),
    /// The database of this URL, whose user is a superuser.
    Given(SecretString),
}

/// The database.
#[derive(Debug)]
pub(super) enum Server {
    Private {
        cluster: Box<Cluster>,
        /// Whether admitted roles come in as members of a group, without a line for each.
        by_group: bool,
    },
    Given(Box<Given>),
}

impl Server {
    pub(super) async fn start(
        postgres: Postgres,
        data_dir: &Path,
        names: &Names,
        example: Option<&Example>,
        yes: bool,
    ) -> anyhow::Result<Self> {
        match postgres {
            Postgres::Private(source) => {
                let mut options = Options::new(data_dir.join("postgres"));
                options.source = source;
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
                make_database(&cluster).await?;
                Ok(Self::Private {
                    cluster: Box::new(cluster),
                    by_group: false,
                })
            }
            Postgres::Given(url) => {
                let given = Given::prepare(&url, data_dir, names, example, yes).await?;
                Ok(Self::Given(Box::new(given)))
            }
        }
    }

    /// Whether the cluster is ours.
    pub(super) fn is_private(&self) -> bool {
        matches!(self, Self::Private { .. })
    }

    /// A connection of the superuser.
    pub(super) async fn superuser(&self) -> anyhow::Result<Client> {
        match self {
            Self::Private { cluster, .. } => {
                Ok(cluster.endpoint().connect("postgres", DATABASE).await?)
            }
            Self::Given(given) => given.superuser().await,
        }
    }

    /// A connection of one of our own logins.
    pub(super) async fn login(&self, role: &str) -> anyhow::Result<Client> {
        match self {
            Self::Private { cluster, .. } => Ok(cluster.endpoint().connect(role, DATABASE).await?),
            Self::Given(given) => given.login(role).await,
        }
    }

    /// Lets this process log in as our own logins, after the bootstrap.
    pub(super) async fn let_in(
        &mut self,
        client: &Client,
        names: &Names,
        logins: &[&str],
    ) -> anyhow::Result<()> {
        match self {
            Self::Private { cluster, by_group } => {
                cluster.admit(logins).await.context("peer map")?;
                *by_group = cluster
                    .admit_members_of(&names.role("admitted"))
                    .await
                    .context("peer map")?;
                Ok(())
            }
            Self::Given(given) => given.let_in(client, logins).await,
        }
    }

    /// Remembers what was made, where not everything is ours.
    pub(super) async fn note(&mut self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Private { .. } => Ok(()),
            Self::Given(given) => given.note(client).await,
        }
    }

    /// Whether the name of a person is somebody else's.
    pub(super) fn is_taken(&self, role: &str) -> bool {
        match self {
            Self::Private { .. } => false,
            Self::Given(given) => given.inventory.taken_people.iter().any(|name| name == role),
        }
    }

    /// Whether rights on the exposed schema are ours to give.
    pub(super) async fn owns_schema(&self, client: &Client) -> anyhow::Result<bool> {
        match self {
            Self::Private { .. } => Ok(true),
            Self::Given(given) => given.owns_schema(client).await,
        }
    }

    /// The password a person has had so far.
    pub(super) fn password(&self, role: &str) -> Option<SecretString> {
        match self {
            Self::Private { .. } => None,
            Self::Given(given) => given.made.password(role),
        }
    }

    /// Admits a person; the mode in which their calls run.
    pub(super) async fn admit(
        &self,
        client: &mut Client,
        names: &Names,
        role: &str,
    ) -> anyhow::Result<Mode> {
        match self {
            Self::Private { cluster, by_group } => {
                let login = AdmitMode::Login {
                    os_user: cluster.os_user(),
                    map: "rolegate",
                };
                admit(client, names, role, login).await?;
                if *by_group {
                    // A line of its own, from before there was one for the group, would outlive
                    // the admission.
                    cluster.dismiss(&[role]).await?;
                } else {
                    cluster.admit(&[role]).await?;
                }
                Ok(Mode::Login)
            }
            Self::Given(given) => {
                if given.peer {
                    // The map is somebody else's, and so is the line it would need.
                    let login = AdmitMode::Login {
                        os_user: "rolegate",
                        map: "rolegate",
                    };
                    admit(client, names, role, login).await?;
                    if given.comes_in_without_password(role).await {
                        return Ok(Mode::Login);
                    }
                }
                admit(client, names, role, AdmitMode::Assume).await?;
                Ok(Mode::Assume)
            }
        }
    }

    /// How roles run that nobody has tried.
    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Private { .. } => Mode::Login,
            Self::Given(given) if given.peer => Mode::Login,
            Self::Given(_) => Mode::Assume,
        }
    }

    /// The address for the wire client.
    pub(super) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Private { cluster, .. } => Endpoint {
                address: cluster.endpoint().address(),
                tls: TlsMode::Disable,
                database: DATABASE.to_owned(),
            },
            Self::Given(given) => given.endpoint.clone(),
        }
    }

    /// How the wire client logs in as one of our own logins.
    pub(super) fn wire_login(&self, user: String) -> Login {
        match self {
            Self::Given(given) if !given.peer => Login {
                password: given.made.password(&user),
                user,
            },
            _ => Login::peer(user),
        }
    }

    /// Where passwords can be checked: host, port, TLS.
    pub(super) fn password_target(&self) -> Option<(String, u16, TlsMode)> {
        match self {
            Self::Private { cluster, .. } => {
                Some(("127.0.0.1".to_owned(), cluster.port(), TlsMode::Disable))
            }
            Self::Given(given) => match &given.endpoint.address {
                Address::Tcp { host, port } => Some((host.clone(), *port, given.endpoint.tls)),
                // A socket's peer lines take any password.
                Address::Unix { .. } => None,
            },
        }
    }

    /// A URL that leads to the superuser.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Private { cluster, .. } => cluster.endpoint().url("postgres", DATABASE),
            Self::Given(given) => given.url().to_owned(),
        }
    }

    /// Stops what was started here.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Private { cluster, .. } => cluster.stop().await.context("the private cluster"),
            Self::Given(_) => Ok(()),
        }
    }
}

async fn make_database(cluster: &Cluster) -> anyhow::Result<()> {
    let admin = cluster.endpoint().connect("postgres", "postgres").await?;
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
    Ok(())
}
