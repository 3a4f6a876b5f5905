//! How administrative commands reach a database: as an ordinary login of the operator's.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use rolegate_roles::names::Names;
use tokio_postgres::Client;

/// Which database, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// `postgresql://USER@HOST:PORT/DATABASE`. USER is the login this command runs as.
    #[arg(long = "database", value_name = "URL", env = "ROLEGATE_DATABASE")]
    url: String,
    /// File with the password of that login.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Schema of our own objects.
    #[arg(long, value_name = "NAME", default_value = "rolegate")]
    schema: String,
    /// Prefix of our own roles.
    #[arg(long, value_name = "PREFIX", default_value = "rolegate")]
    role_prefix: String,
}

impl Target {
    pub(crate) fn names(&self) -> anyhow::Result<Names> {
        Ok(Names::new(&self.schema, &self.role_prefix)?)
    }

    /// Connects as the URL's user.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        self.connect_config(self.config()?).await
    }

    /// Connects as another login, with the same address.
    pub(crate) async fn connect_as(&self, login: &str) -> anyhow::Result<Client> {
        let mut config = self.config()?;
        config.user(login);
        self.connect_config(config).await
    }

    fn config(&self) -> anyhow::Result<tokio_postgres::Config> {
        let mut config: tokio_postgres::Config = self.url.parse().context("--database")?;
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            config.password(text.trim_end_matches(['\r', '\n']));
        }
        config.application_name("rolegate");
        Ok(config)
    }

    async fn connect_config(&self, config: tokio_postgres::Config) -> anyhow::Result<Client> {
        let user = config.get_user().unwrap_or_default().to_owned();
        let remote = config.get_hosts().iter().any(|host| match host {
            tokio_postgres::config::Host::Tcp(host) => !crate::config::is_loopback(host),
            tokio_postgres::config::Host::Unix(_) => false,
        });
        if remote {
            let tls = rolegate_pg::wire::tls_config()?;
            let mut config = config;
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
            let (client, connection) = config
                .connect(tls)
                .await
                .with_context(|| format!("connecting as {user}"))?;
            tokio::spawn(connection);
            Ok(client)
        } else {
            let (client, connection) = config
                .connect(tokio_postgres::NoTls)
                .await
                .with_context(|| format!("connecting as {user}"))?;
            tokio::spawn(connection);
            Ok(client)
        }
    }
}
