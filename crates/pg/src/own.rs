//! The pool for our own work: one login, fixed statements, never a caller's code.

mod only_scram;

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use secrecy::ExposeSecret;
use tokio_postgres::NoTls;

use only_scram::OnlyScram;

use crate::wire::{Address, ChannelBinding, Endpoint, Login, TlsMode};

/// Our own functions take locks, and then look again. Whatever a database's default is.
const READ_COMMITTED: &str = "set default_transaction_isolation = 'read committed'";

/// A pool of connections of one of our own logins.
#[derive(Clone)]
pub struct OwnPool(Pool);

impl std::fmt::Debug for OwnPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OwnPool").field(&self.0.status()).finish()
    }
}

/// Why there is no connection for our own work.
#[derive(Debug, thiserror::Error)]
pub enum OwnPoolError {
    /// The pool can't be built as configured.
    #[error("the pool can't be built")]
    Build(#[source] deadpool_postgres::BuildError),
    /// No connection could be made or became free in time.
    #[error("no connection")]
    Connect(#[from] deadpool_postgres::PoolError),
    /// A statement failed.
    #[error("a statement failed")]
    Statement(#[from] tokio_postgres::Error),
    /// TLS towards the database can't be set up.
    #[error("TLS can't be set up")]
    Tls(#[source] rustls::Error),
}

impl OwnPool {
    /// A pool of at most `size` connections. None is made before the first use.
    pub fn new(endpoint: &Endpoint, login: &Login, size: usize) -> Result<Self, OwnPoolError> {
        let mut config = config(endpoint, login);
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match (&endpoint.address, endpoint.tls) {
            (Address::Tcp { .. }, TlsMode::VerifyFull(binding)) => {
                // As in `wire::scram`, in the words of this driver. Where nothing has to be bound,
                // it would do without TLS, and say the password to whoever asks for it.
                config.ssl_mode(tokio_postgres::config::SslMode::Require);
                config.channel_binding(match binding {
                    ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
                    ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
                });
                let tls = crate::wire::tls_config().map_err(OwnPoolError::Tls)?;
                let tls = OnlyScram(tokio_postgres_rustls::MakeRustlsConnect::new(tls));
                Manager::from_config(config, tls, recycling)
            }
            _ => Manager::from_config(config, NoTls, recycling),
        };
        Pool::builder(manager)
            .max_size(size)
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    let set = client.batch_execute(READ_COMMITTED).await;
                    set.map_err(HookError::Backend)
                })
            }))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(5)))
            .create_timeout(Some(Duration::from_secs(5)))
            .recycle_timeout(Some(Duration::from_secs(5)))
            .build()
            .map(Self)
            .map_err(OwnPoolError::Build)
    }

    /// A connection.
    pub async fn get(&self) -> Result<Object, OwnPoolError> {
        Ok(self.0.get().await?)
    }

    /// Closes the pool.
    pub fn close(&self) {
        self.0.close();
    }
}

/// The typed configuration of the driver; nothing is formatted into a connection string.
pub fn config(endpoint: &Endpoint, login: &Login) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    match &endpoint.address {
        Address::Unix { directory, port } => {
            config.host_path(directory).port(*port);
        }
        Address::Tcp { host, port } => {
            config.host(host).port(*port);
        }
    }
    config
        .dbname(&endpoint.database)
        .user(&login.user)
        .application_name("rolegate")
        .connect_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(30));
    if let Some(password) = &login.password {
        config.password(password.expose_secret());
    }
    config
}
