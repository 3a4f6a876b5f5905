//! How administrative commands reach a database: as an ordinary login of the operator's.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use rolegate_pg::cluster::Admissions;
use rolegate_pg::wire::{ChannelBinding, Endpoint, Login};
use rolegate_roles::names::Names;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Client;

use crate::config::endpoint_of;
use crate::development::{self, Record};

/// Over these options in the help, which many commands share.
const HEADING: &str = "Database";

/// Which database, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// `postgresql://USER@HOST:PORT/DATABASE`; USER is the login this command runs as.
    #[arg(
        long = "database",
        value_name = "URL",
        env = "ROLEGATE_DATABASE",
        hide_env_values = true,
        help_heading = HEADING,
        required_unless_present = "data_dir"
    )]
    url: Option<String>,
    /// File with the password of that login.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    password_file: Option<PathBuf>,
    /// The database of `rolegate dev --data-dir DIR`, as its superuser; instead of --database.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "password_file",
        help_heading = HEADING
    )]
    data_dir: Option<PathBuf>,
    /// Schema of our own objects.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "rolegate",
        help_heading = HEADING
    )]
    schema: String,
    /// Prefix of our own roles.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "rolegate",
        help_heading = HEADING
    )]
    role_prefix: String,
}

impl Target {
    pub(crate) fn names(&self) -> anyhow::Result<Names> {
        Ok(Names::new(&self.schema, &self.role_prefix)?)
    }

    /// Connects as the URL's user.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        open(self.config()?).await
    }

    /// Connects to another server that has the same logins, as the user of its URL.
    pub(crate) async fn connect_to(&self, url: &str) -> anyhow::Result<Client> {
        open(self.with_password(url.parse()?)?).await
    }

    /// Connects as another login, with the same address.
    pub(crate) async fn connect_as(&self, login: &str) -> anyhow::Result<Client> {
        let mut config = self.config()?;
        config.user(login);
        if let Some(data_dir) = &self.data_dir
            && let Some(password) = development::password_of(data_dir, login)?
        {
            config.password(password.expose_secret());
        }
        open(config).await
    }

    /// Where it is, and another login, for what connects by itself.
    pub(crate) fn login(&self, user: &str) -> anyhow::Result<(Endpoint, Login)> {
        let config = self.config()?;
        let endpoint = endpoint_of(&config, None, ChannelBinding::Require)?;
        let stored = match &self.data_dir {
            Some(data_dir) => development::password_of(data_dir, user)?,
            None => None,
        };
        let given = || {
            let password = String::from_utf8(config.get_password()?.to_vec()).ok()?;
            Some(SecretString::from(password))
        };
        let login = Login {
            user: user.to_owned(),
            password: stored.or_else(given),
        };
        Ok((endpoint, login))
    }

    /// Whether `--data-dir` names it.
    pub(crate) fn is_development(&self) -> bool {
        self.data_dir.is_some()
    }

    /// Who may log in to the private cluster, if `--data-dir` names one.
    pub(crate) fn private_cluster(&self) -> anyhow::Result<Option<Admissions>> {
        match &self.data_dir {
            Some(data_dir) => development::admissions(data_dir),
            None => Ok(None),
        }
    }

    fn config(&self) -> anyhow::Result<tokio_postgres::Config> {
        let config: tokio_postgres::Config = match (&self.data_dir, &self.url) {
            (Some(data_dir), _) => Record::read(data_dir)?
                .database_url
                .parse()
                .context("database_url of dev.json")?,
            (None, Some(url)) => url.parse().context("--database")?,
            (None, None) => anyhow::bail!("--database or --data-dir is needed"),
        };
        self.with_password(config)
    }

    fn with_password(
        &self,
        mut config: tokio_postgres::Config,
    ) -> anyhow::Result<tokio_postgres::Config> {
        if let Some(path) = &self.password_file {
            config.password(read_password(path)?);
        }
        config.application_name("rolegate");
        Ok(config)
    }
}

fn read_password(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Connects with TLS, unless the server is on a socket or loopback.
pub(crate) async fn open(mut config: tokio_postgres::Config) -> anyhow::Result<Client> {
    let user = config.get_user().unwrap_or_default().to_owned();
    let connecting = || format!("connecting as {user:?}");
    let remote = config.get_hosts().iter().any(|host| match host {
        tokio_postgres::config::Host::Tcp(host) => !crate::config::is_loopback(host),
        tokio_postgres::config::Host::Unix(_) => false,
    });
    if remote {
        let tls = rolegate_pg::wire::tls_config()?;
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
        let (client, connection) = config.connect(tls).await.with_context(connecting)?;
        tokio::spawn(connection);
        Ok(client)
    } else {
        let (client, connection) = config
            .connect(tokio_postgres::NoTls)
            .await
            .with_context(connecting)?;
        tokio::spawn(connection);
        Ok(client)
    }
}
