//! One login with a password: the exchange is that of all our connections, but stricter.

use std::io;

use rolegate_model::RoleName;
use rolegate_pg::wire::{Accepted, Address, ConnectError, Connection, DbError, Login};
use secrecy::SecretString;

use super::target::PasswordTarget;

/// Why an exchange did not prove the password.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The server could not be reached, or the connection broke.
    #[error("the connection to the server failed")]
    Io(#[source] io::Error),
    /// No TLS, or not the certificate it has to be.
    #[error("the connection to the server could not be encrypted")]
    Tls(#[source] io::Error),
    /// The server let us in, or wanted the password, without SCRAM. Its `pg_hba.conf` has to have
    /// a `scram-sha-256` line for this address and database.
    #[error("the server did not ask for SCRAM, but for {0}")]
    NotScram(&'static str),
    /// The exchange cannot be bound to the TLS connection.
    #[error("the exchange cannot be bound to the TLS connection: {0}")]
    ChannelBinding(&'static str),
    /// The server said no.
    #[error("the server refused with SQLSTATE {0}")]
    Refused(String),
    /// The server does not know the password, or the exchange was tampered with.
    #[error("the SCRAM exchange failed")]
    Scram(#[source] io::Error),
    /// Another message than the one that has to come.
    #[error("the server sent an unexpected message")]
    Protocol,
}

impl From<ConnectError> for ExchangeError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Io(error) => Self::Io(error),
            ConnectError::Tls(error) => Self::Tls(error),
            ConnectError::Timeout(_) => Self::Io(io::ErrorKind::TimedOut.into()),
            ConnectError::UnsupportedAuthentication(what) => Self::NotScram(what),
            ConnectError::ChannelBinding(why) => Self::ChannelBinding(why),
            ConnectError::Scram(error) => Self::Scram(error),
            ConnectError::Refused(error) => refused(&error),
            ConnectError::PasswordMissing | ConnectError::Protocol => Self::Protocol,
        }
    }
}

/// Whether the server says, after a whole SCRAM exchange, that this is the role's password, and
/// lets the role in. The caller bounds the time.
pub(super) async fn check(
    target: &PasswordTarget,
    role: &RoleName,
    password: &SecretString,
) -> Result<(), ExchangeError> {
    let address = Address::Tcp {
        host: target.host.clone(),
        port: target.port,
    };
    let login = Login {
        user: role.to_string(),
        password: Some(password.clone()),
    };
    let (connection, _) = Connection::open_with(
        address,
        target.tls.clone(),
        &target.database,
        &login,
        &[("application_name", "rolegate login")],
        Accepted::OnlyScram,
    )
    .await?;
    // The answer stands; how the connection ends changes nothing.
    connection.close().await;
    Ok(())
}

/// The code only: the message of a refusal repeats the login.
fn refused(error: &DbError) -> ExchangeError {
    if error.code.is_empty() {
        return ExchangeError::Protocol;
    }
    ExchangeError::Refused(error.code.chars().take(5).collect())
}
