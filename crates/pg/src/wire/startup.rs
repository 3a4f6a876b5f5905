//! Opening a connection: start-up message and authentication.

use std::io;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{self, ChannelBinding, ScramSha256};
use postgres_protocol::message::{backend::Message, frontend};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::address::{Endpoint, Login};
use super::connection::{CancelKey, Connection};
use super::db_error::DbError;
use super::stream::Stream;

/// How the server let us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationKind {
    /// Without asking for anything on the wire: `peer`, `cert`, or `trust`.
    Unasked,
    /// After a completed SCRAM exchange.
    Scram,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server could not be reached, or the connection broke.
    #[error("the connection to the server failed")]
    Io(#[source] io::Error),
    /// It did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// It said no.
    #[error("the server refused the connection")]
    Refused(#[source] DbError),
    /// It asked for something we do not give: a clear-text or MD5 password, GSSAPI.
    #[error("the server asked for {0}, which is not supported; use peer, cert or scram-sha-256")]
    UnsupportedAuthentication(&'static str),
    /// It asked for a password and there is none.
    #[error("the server asks for a password and none is configured for this role")]
    PasswordMissing,
    /// It sent something unexpected.
    #[error("unexpected message during start-up")]
    Protocol,
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Connection {
    /// Connects and authenticates within `limit`.
    ///
    /// `settings` become the session's defaults: `reset all` returns to them. They are ours, never
    /// of a request.
    pub async fn open(
        endpoint: &Endpoint,
        login: &Login,
        settings: &[(&str, &str)],
        limit: Duration,
    ) -> Result<(Self, AuthenticationKind), ConnectError> {
        timeout(limit, open(endpoint, login, settings))
            .await
            .map_err(|_| ConnectError::Timeout(limit))?
    }
}

async fn open(
    endpoint: &Endpoint,
    login: &Login,
    settings: &[(&str, &str)],
) -> Result<(Connection, AuthenticationKind), ConnectError> {
    let stream = Stream::connect(&endpoint.address, endpoint.tls).await?;
    let mut connection = Connection::new(stream);
    let mut parameters = vec![
        ("user", login.user.as_str()),
        ("database", endpoint.database.as_str()),
        ("client_encoding", "UTF8"),
    ];
    parameters.extend_from_slice(settings);
    frontend::startup_message(parameters, connection.write_buffer())?;
    connection.send_buffered().await?;

    let kind = authenticate(&mut connection, login).await?;
    let mut key = CancelKey { pid: 0, secret: 0 };
    loop {
        match connection.receive().await? {
            Message::BackendKeyData(body) => {
                key = CancelKey {
                    pid: body.process_id(),
                    secret: body.secret_key(),
                };
            }
            Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
            Message::ReadyForQuery(_) => break,
            Message::ErrorResponse(body) => {
                return Err(ConnectError::Refused(DbError::from_body(&body)));
            }
            _ => return Err(ConnectError::Protocol),
        }
    }
    connection.set_cancel_key(key, endpoint.clone());
    Ok((connection, kind))
}

async fn authenticate(
    connection: &mut Connection,
    login: &Login,
) -> Result<AuthenticationKind, ConnectError> {
    let unsupported = ConnectError::UnsupportedAuthentication;
    match connection.receive().await? {
        Message::AuthenticationOk => Ok(AuthenticationKind::Unasked),
        Message::AuthenticationSasl(body) => {
            let mut offered = Vec::new();
            let mut mechanisms = body.mechanisms();
            while let Some(name) = fallible_iterator::FallibleIterator::next(&mut mechanisms)? {
                offered.push(name.to_owned());
            }
            scram(connection, login, &offered).await?;
            Ok(AuthenticationKind::Scram)
        }
        Message::AuthenticationCleartextPassword => Err(unsupported("a clear-text password")),
        Message::AuthenticationMd5Password(_) => Err(unsupported("an MD5 password")),
        Message::AuthenticationGss | Message::AuthenticationSspi => Err(unsupported("GSSAPI")),
        Message::ErrorResponse(body) => Err(ConnectError::Refused(DbError::from_body(&body))),
        _ => Err(ConnectError::Protocol),
    }
}

async fn scram(
    connection: &mut Connection,
    login: &Login,
    offered: &[String],
) -> Result<(), ConnectError> {
    let password = login
        .password
        .as_ref()
        .ok_or(ConnectError::PasswordMissing)?;
    let binding = connection.channel_binding();
    let has = |name: &str| offered.iter().any(|mechanism| mechanism == name);
    let (mechanism, binding) = match binding {
        Some(digest) if has(sasl::SCRAM_SHA_256_PLUS) => (
            sasl::SCRAM_SHA_256_PLUS,
            ChannelBinding::tls_server_end_point(digest),
        ),
        // Saying "the server does not support it" lets a server that does detect a downgrade.
        Some(_) if has(sasl::SCRAM_SHA_256) => (sasl::SCRAM_SHA_256, ChannelBinding::unrequested()),
        None if has(sasl::SCRAM_SHA_256) => (sasl::SCRAM_SHA_256, ChannelBinding::unsupported()),
        _ => {
            return Err(ConnectError::UnsupportedAuthentication(
                "an unknown SASL mechanism",
            ));
        }
    };
    let mut exchange = ScramSha256::new(password.expose_secret().as_bytes(), binding);
    frontend::sasl_initial_response(mechanism, exchange.message(), connection.write_buffer())?;
    connection.send_buffered().await?;
    match connection.receive().await? {
        Message::AuthenticationSaslContinue(body) => exchange.update(body.data())?,
        Message::ErrorResponse(body) => {
            return Err(ConnectError::Refused(DbError::from_body(&body)));
        }
        _ => return Err(ConnectError::Protocol),
    }
    frontend::sasl_response(exchange.message(), connection.write_buffer())?;
    connection.send_buffered().await?;
    match connection.receive().await? {
        Message::AuthenticationSaslFinal(body) => exchange.finish(body.data())?,
        Message::ErrorResponse(body) => {
            return Err(ConnectError::Refused(DbError::from_body(&body)));
        }
        _ => return Err(ConnectError::Protocol),
    }
    match connection.receive().await? {
        Message::AuthenticationOk => Ok(()),
        Message::ErrorResponse(body) => Err(ConnectError::Refused(DbError::from_body(&body))),
        _ => Err(ConnectError::Protocol),
    }
}
