//! A database that somebody else made and named with `--postgres URL`: what would be made in it is
//! said first, what is there stays as it is.

use std::path::Path;

use anyhow::Context as _;
use rolegate_pg::quote;
use rolegate_pg::wire::{Address, ChannelBinding, Endpoint};
use rolegate_roles::names::Names;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use super::inventory::Inventory;
use super::made::Made;
use super::seed::Example;
use super::{SCHEMA, people};
use crate::command::open;
use crate::logging::say;

/// The oldest server that will do.
const OLDEST: i32 = 150_000;

/// A database that is not ours.
#[derive(Debug)]
pub(super) struct Given {
    /// The superuser's way in.
    config: Config,
    url: SecretString,
    pub(super) endpoint: Endpoint,
    pub(super) made: Made,
    /// What may be made: it was not there, or it is ours.
    pub(super) inventory: Inventory,
    /// Whether logins come in by the socket without a password.
    pub(super) peer: bool,
}

impl Given {
    /// Looks at the database, says what would be made, and makes the database itself if it is
    /// missing. Refuses what is not empty unless `yes`.
    pub(super) async fn prepare(
        url: &SecretString,
        data_dir: &Path,
        names: &Names,
        example: Option<&Example>,
        yes: bool,
    ) -> anyhow::Result<Self> {
        let (config, endpoint) = read_url(url.expose_secret())?;
        let (client, exists) = first_connection(&config).await?;
        let system_identifier = check_server(&client).await?;
        let made = Made::of(data_dir, &system_identifier, &endpoint.database)?;
        let inventory =
            Inventory::take(&client, &made, names, example, &endpoint.database, exists).await?;
        say(inventory.plan(&endpoint));
        inventory.check_conflicts(names, data_dir)?;
        if !inventory.foreign.is_empty() && inventory.makes_something() && !yes {
            anyhow::bail!(
                "the cluster is not empty ({}); if this is what you want, run it again with --yes",
                inventory.foreign.join("; ")
            );
        }
        if !exists {
            let sql = ["create database ", &quote::ident(&endpoint.database)].concat();
            client.batch_execute(&sql).await?;
        }
        Ok(Self {
            config,
            url: url.clone(),
            endpoint,
            made,
            inventory,
            peer: false,
        })
    }

    pub(super) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    pub(super) async fn superuser(&self) -> anyhow::Result<Client> {
        open(self.config.clone()).await
    }

    /// Connects as a login that was made.
    pub(super) async fn login(&self, role: &str) -> anyhow::Result<Client> {
        let mut config = self.config_without_password(role);
        if !self.peer
            && let Some(password) = self.made.password(role)
        {
            config.password(password.expose_secret());
        }
        open(config).await
    }

    /// Remembers what was made since the last time.
    pub(super) async fn note(&mut self, client: &Client) -> anyhow::Result<()> {
        let Inventory {
            new_roles,
            new_schemas,
            ..
        } = &self.inventory;
        self.made.note(client, new_roles, new_schemas).await
    }

    /// Gives the engine's logins, all of them ours, their passwords, and finds out whether they
    /// are needed.
    pub(super) async fn let_in(&mut self, client: &Client, logins: &[&str]) -> anyhow::Result<()> {
        self.note(client).await?;
        for login in logins {
            let password = self.made.password(login).context("a login of ours")?;
            people::set_password(client, login, password.expose_secret()).await?;
        }
        if matches!(self.endpoint.address, Address::Unix { .. }) {
            self.peer = true;
            for login in logins {
                self.peer &= self.comes_in_without_password(login).await;
            }
        }
        let login = logins.first().context("a login")?;
        self.login(login).await.with_context(|| {
            format!(
                "{login} was made and cannot log in; pg_hba.conf needs a line like `{}` before the \
                 others, or name the server by an address where it asks for a password",
                self.hba_line()
            )
        })?;
        Ok(())
    }

    /// Whether the server lets `role` in on its word.
    pub(super) async fn comes_in_without_password(&self, role: &str) -> bool {
        open(self.config_without_password(role)).await.is_ok()
    }

    /// Whether the exposed schema is ours to grant on.
    pub(super) async fn owns_schema(&self, client: &Client) -> anyhow::Result<bool> {
        let oid = super::made::present_schemas(client, &[SCHEMA.to_owned()]).await?;
        Ok(oid
            .iter()
            .any(|(name, oid)| self.made.has_schema(name, *oid)))
    }

    fn config_without_password(&self, role: &str) -> Config {
        let mut config = Config::new();
        match &self.endpoint.address {
            Address::Unix { directory, port } => config.host_path(directory).port(*port),
            Address::Tcp { host, port } => config.host(host).port(*port),
        };
        config
            .user(role)
            .dbname(&self.endpoint.database)
            .application_name("rolegate");
        config
    }

    fn hba_line(&self) -> String {
        let database = quote::ident(&self.endpoint.database);
        match &self.endpoint.address {
            Address::Unix { .. } => format!("local {database} all scram-sha-256"),
            Address::Tcp { .. } => format!("host {database} all OUR-ADDRESS scram-sha-256"),
        }
    }
}

fn read_url(url: &str) -> anyhow::Result<(Config, Endpoint)> {
    // The parser's own message may quote a part of the URL, and the URL may hold a password.
    let mut config: Config = url.parse().map_err(|_| {
        anyhow::anyhow!("--postgres: expected postgresql://SUPERUSER:PASSWORD@HOST:PORT/DATABASE")
    })?;
    anyhow::ensure!(
        config.get_user().is_some(),
        "--postgres: the URL names no user; it is the superuser that makes roles and schema"
    );
    if config.get_password().is_none() {
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line reads the environment"
        )]
        if let Ok(password) = std::env::var("PGPASSWORD") {
            config.password(password);
        }
    }
    config.application_name("rolegate");
    let endpoint =
        crate::config::endpoint_of(&config, None, ChannelBinding::Require).context("--postgres")?;
    Ok((config, endpoint))
}

/// Connects to the database, or beside it if it does not exist yet.
async fn first_connection(config: &Config) -> anyhow::Result<(Client, bool)> {
    match open(config.clone()).await {
        Ok(client) => Ok((client, true)),
        Err(error) => {
            let missing = error
                .downcast_ref::<tokio_postgres::Error>()
                .and_then(tokio_postgres::Error::code)
                == Some(&SqlState::INVALID_CATALOG_NAME);
            anyhow::ensure!(missing, error.context("--postgres"));
            let mut beside = config.clone();
            beside.dbname("postgres");
            Ok((open(beside).await.context("--postgres")?, false))
        }
    }
}

/// Gives the system identifier of a server that will do.
async fn check_server(client: &Client) -> anyhow::Result<String> {
    let row = client
        .query_one(
            "select pg_catalog.current_setting('server_version_num')::int4, \
                 pg_catalog.current_setting('server_version'), r.rolsuper, r.rolname::text \
             from pg_catalog.pg_roles r where r.rolname = current_user",
            &[],
        )
        .await?;
    let (version, text): (i32, &str) = (row.get(0), row.get(1));
    anyhow::ensure!(
        version >= OLDEST,
        "--postgres: the server is PostgreSQL {text}, and 15 or newer is needed"
    );
    anyhow::ensure!(
        row.get::<_, bool>(2),
        "--postgres: {} is no superuser, and making our roles needs one",
        row.get::<_, &str>(3)
    );
    let row = client
        .query_one(
            "select c.system_identifier::text from pg_catalog.pg_control_system() c",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_superuser_and_never_shows_its_password() {
        let (config, endpoint) =
            read_url("postgresql://admin:hush@127.0.0.1:5433/mine").expect("valid");
        assert_eq!(config.get_user(), Some("admin"));
        assert_eq!(endpoint.database, "mine");
        for url in [
            "postgresql://127.0.0.1/mine",
            "postgresql://admin:hush@127.0.0.1:port/mine",
            "postgresql://admin:hush@127.0.0.1",
            "postgresql://admin:hush@/mine",
            "postgresql://admin:hush@a,b/mine",
        ] {
            let error = format!("{:#}", read_url(url).expect_err(url));
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
