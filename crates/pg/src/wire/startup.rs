//! Opening a connection: start-up message and authentication.

use std::io;
use std::time::Duration;

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::{backend::Message, frontend};
use tokio::time::timeout;

use super::address::{Address, ChannelBinding, Endpoint, Login, Tls, TlsMode};
use super::connection::{CancelKey, Connection};
use super::db_error::DbError;
use super::scram::Exchange;
use super::stream::{Route, machine_tls};

/// The longest message of a server that has not let us in yet, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// How the server let us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationKind {
    /// Without asking for anything on the wire: `peer`, `cert`, or `trust`.
    Unasked,
    /// After a completed SCRAM exchange that is bound to nothing.
    Scram,
    /// After a completed SCRAM exchange that is bound to the server's certificate.
    BoundScram,
}

/// Which ways in are accepted. A password never leaves this process but as a SCRAM proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Whatever the server asks for that gives nothing away.
    Any,
    /// Only a whole SCRAM exchange: a server that lets everybody in says nothing about a password.
    OnlyScram,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server could not be reached, or the connection broke.
    #[error("the connection to the server failed")]
    Io(#[source] io::Error),
    /// No TLS, or not the certificate it has to be.
    #[error("the connection to the server could not be encrypted")]
    Tls(#[source] io::Error),
    /// It did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// It said no.
    #[error("the server refused the connection")]
    Refused(#[source] DbError),
    /// It asked for something we do not give: a clear-text or MD5 password, GSSAPI.
    #[error("the server asked for {0}, which is not supported; use peer, cert or scram-sha-256")]
    UnsupportedAuthentication(&'static str),
    /// Over TLS the proof of a password has to be bound to the server's certificate.
    #[error("the login cannot be bound to the TLS connection: {0}")]
    ChannelBinding(&'static str),
    /// The server does not know the password, or the exchange was tampered with.
    #[error("the SCRAM exchange failed")]
    Scram(#[source] io::Error),
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
    /// Connects and authenticates within `limit`, with the machine's roots where there is TLS.
    ///
    /// `settings` become the session's defaults: `reset all` returns to them. They are ours, never
    /// of a request.
    pub async fn open(
        endpoint: &Endpoint,
        login: &Login,
        settings: &[(&str, &str)],
        limit: Duration,
    ) -> Result<(Self, AuthenticationKind), ConnectError> {
        let tls = match (&endpoint.address, endpoint.tls) {
            (Address::Tcp { .. }, TlsMode::VerifyFull(binding)) => Some(Tls {
                config: machine_tls()?,
                binding,
            }),
            _ => None,
        };
        let route = Route {
            address: endpoint.address.clone(),
            tls,
        };
        let opened = open(route, &endpoint.database, login, settings, Accepted::Any);
        timeout(limit, opened)
            .await
            .map_err(|_| ConnectError::Timeout(limit))?
    }

    /// The same with other roots, or without TLS, and with a say in how the server may let us in.
    /// The caller bounds the time.
    pub async fn open_with(
        address: Address,
        tls: Option<Tls>,
        database: &str,
        login: &Login,
        settings: &[(&str, &str)],
        accepted: Accepted,
    ) -> Result<(Self, AuthenticationKind), ConnectError> {
        open(Route { address, tls }, database, login, settings, accepted).await
    }
}

async fn open(
    route: Route,
    database: &str,
    login: &Login,
    settings: &[(&str, &str)],
    accepted: Accepted,
) -> Result<(Connection, AuthenticationKind), ConnectError> {
    let mut connection = Connection::new(route.connect().await?);
    let mut parameters = vec![
        ("user", login.user.as_str()),
        ("database", database),
        ("client_encoding", "UTF8"),
    ];
    parameters.extend_from_slice(settings);
    frontend::startup_message(parameters, connection.write_buffer())?;
    connection.send_buffered().await?;

    let binding = route
        .tls
        .as_ref()
        .map(|tls| tls.binding)
        .unwrap_or_default();
    let kind = authenticate(&mut connection, login, accepted, binding).await?;
    // Only now the server looks whether the role may log in, and to this database.
    let mut key = CancelKey { pid: 0, secret: 0 };
    loop {
        match next(&mut connection).await? {
            Message::BackendKeyData(body) => {
                key = CancelKey {
                    pid: body.process_id(),
                    secret: body.secret_key(),
                };
            }
            Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
            Message::ReadyForQuery(_) => break,
            _ => return Err(ConnectError::Protocol),
        }
    }
    connection.set_cancel_key(key, route);
    Ok((connection, kind))
}

/// The next message that is no error. The server is not believed yet, nor is the length it names.
async fn next(connection: &mut Connection) -> Result<Message, ConnectError> {
    match connection.receive_within(MAX_MESSAGE_BYTES).await {
        Ok(Message::ErrorResponse(body)) => Err(ConnectError::Refused(DbError::from_body(&body))),
        Ok(message) => Ok(message),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ConnectError::Protocol,
            _ => ConnectError::Io(error),
        }),
    }
}

async fn authenticate(
    connection: &mut Connection,
    login: &Login,
    accepted: Accepted,
    binding: ChannelBinding,
) -> Result<AuthenticationKind, ConnectError> {
    match next(connection).await? {
        Message::AuthenticationOk if accepted == Accepted::Any => Ok(AuthenticationKind::Unasked),
        Message::AuthenticationSasl(body) => {
            let names = body.mechanisms().map(|name| Ok(name.to_owned()));
            let offered: Vec<_> = names.collect().map_err(|_| ConnectError::Protocol)?;
            scram(connection, login, &offered, binding).await
        }
        other => Err(not_scram(&other)),
    }
}

/// The whole exchange, with the server's own proof, up to `AuthenticationOk`.
async fn scram(
    connection: &mut Connection,
    login: &Login,
    offered: &[String],
    binding: ChannelBinding,
) -> Result<AuthenticationKind, ConnectError> {
    let password = login
        .password
        .as_ref()
        .ok_or(ConnectError::PasswordMissing)?;
    let mut exchange = Exchange::begin(offered, connection.channel(), binding, password)?;
    let (kind, mechanism) = (exchange.kind(), exchange.mechanism());
    frontend::sasl_initial_response(mechanism, exchange.message(), connection.write_buffer())?;
    connection.send_buffered().await?;
    match next(connection).await? {
        Message::AuthenticationSaslContinue(body) => exchange.challenge(body.data())?,
        other => return Err(not_scram(&other)),
    }
    frontend::sasl_response(exchange.message(), connection.write_buffer())?;
    connection.send_buffered().await?;
    match next(connection).await? {
        Message::AuthenticationSaslFinal(body) => exchange.finish(body.data())?,
        other => return Err(not_scram(&other)),
    }
    match next(connection).await? {
        Message::AuthenticationOk => Ok(kind),
        _ => Err(ConnectError::Protocol),
    }
}

/// A message in place of the next one of the exchange.
fn not_scram(message: &Message) -> ConnectError {
    ConnectError::UnsupportedAuthentication(match message {
        Message::AuthenticationOk => "nothing (trust, peer, ident or cert)",
        Message::AuthenticationCleartextPassword => "the password in clear text",
        Message::AuthenticationMd5Password(_) => "an MD5 digest of the password",
        Message::AuthenticationGss
        | Message::AuthenticationGssContinue(_)
        | Message::AuthenticationSspi
        | Message::AuthenticationKerberosV5 => "GSSAPI",
        Message::AuthenticationScmCredential => "socket credentials",
        _ => return ConnectError::Protocol,
    })
}
