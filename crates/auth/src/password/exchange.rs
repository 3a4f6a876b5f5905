//! The messages of one login: start-up, SCRAM, goodbye.

use std::io;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use rolegate_model::RoleName;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certificate;
use super::target::PasswordTarget;

/// The longest message of the server, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

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

/// Whether the server says, after a whole SCRAM exchange, that this is the role's password, and
/// lets the role in.
pub(super) async fn check(
    target: &PasswordTarget,
    role: &RoleName,
    password: &SecretString,
) -> Result<(), ExchangeError> {
    let address = (target.host.as_str(), target.port);
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(ExchangeError::Io)?;
    stream.set_nodelay(true).map_err(ExchangeError::Io)?;
    let Some(config) = &target.tls else {
        return Conversation::new(stream)
            .log_in(&target.database, role, password, None)
            .await;
    };

    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream
        .write_all(&request)
        .await
        .map_err(ExchangeError::Io)?;
    // One byte and no more: what came after it in plain text would count as encrypted.
    if stream.read_u8().await.map_err(ExchangeError::Io)? != b'S' {
        return Err(ExchangeError::Tls(io::Error::other(
            "the server does not offer TLS",
        )));
    }
    let name = ServerName::try_from(target.host.clone())
        .map_err(|error| ExchangeError::Tls(io::Error::other(error)))?;
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(ExchangeError::Tls)?;
    let binding = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| certificate::server_end_point(chain.first()?))
        .ok_or_else(|| {
            ExchangeError::Tls(io::Error::other(
                "nothing to bind to in the server's certificate",
            ))
        })?;
    Conversation::new(stream)
        .log_in(&target.database, role, password, Some(binding))
        .await
}

/// One connection.
struct Conversation<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
        }
    }

    async fn log_in(
        mut self,
        database: &str,
        role: &RoleName,
        password: &SecretString,
        binding: Option<Vec<u8>>,
    ) -> Result<(), ExchangeError> {
        let parameters = [
            ("user", role.as_str()),
            ("database", database),
            ("application_name", "rolegate login"),
        ];
        frontend::startup_message(parameters, &mut self.output).map_err(ExchangeError::Io)?;
        self.send().await?;
        self.scram(password, binding).await?;
        // Only now the server looks whether the role may log in, and to this database.
        loop {
            match self.receive().await? {
                Message::ReadyForQuery(_) => break,
                Message::ParameterStatus(_)
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_) => {}
                Message::ErrorResponse(body) => return Err(refused(&body)),
                _ => return Err(ExchangeError::Protocol),
            }
        }
        // The answer stands; how the connection ends changes nothing.
        frontend::terminate(&mut self.output);
        let _ = self.send().await;
        let _ = self.stream.shutdown().await;
        Ok(())
    }

    /// The whole exchange, with the server's own proof, up to `AuthenticationOk`.
    async fn scram(
        &mut self,
        password: &SecretString,
        binding: Option<Vec<u8>>,
    ) -> Result<(), ExchangeError> {
        let mut mechanisms = match self.receive().await? {
            Message::AuthenticationSasl(body) => {
                let names = body.mechanisms().map(|name| Ok(name.to_owned()));
                names
                    .collect::<Vec<_>>()
                    .map_err(ExchangeError::Io)?
                    .into_iter()
            }
            Message::ErrorResponse(body) => return Err(refused(&body)),
            other => return Err(not_scram(&other)),
        };
        // Over TLS only the bound variant: the unbound one could be passed on by whoever holds
        // another certificate for this name.
        let (mechanism, binding) = match binding {
            Some(digest) => (
                SCRAM_SHA_256_PLUS,
                ChannelBinding::tls_server_end_point(digest),
            ),
            None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        };
        if !mechanisms.any(|offered| offered == mechanism) {
            return Err(ExchangeError::NotScram("another SASL mechanism"));
        }

        let mut exchange = ScramSha256::new(password.expose_secret().as_bytes(), binding);
        frontend::sasl_initial_response(mechanism, exchange.message(), &mut self.output)
            .map_err(ExchangeError::Io)?;
        self.send().await?;
        match self.receive().await? {
            Message::AuthenticationSaslContinue(body) => {
                exchange.update(body.data()).map_err(ExchangeError::Scram)?;
            }
            Message::ErrorResponse(body) => return Err(refused(&body)),
            other => return Err(not_scram(&other)),
        }
        frontend::sasl_response(exchange.message(), &mut self.output).map_err(ExchangeError::Io)?;
        self.send().await?;
        match self.receive().await? {
            Message::AuthenticationSaslFinal(body) => {
                exchange.finish(body.data()).map_err(ExchangeError::Scram)?;
            }
            Message::ErrorResponse(body) => return Err(refused(&body)),
            other => return Err(not_scram(&other)),
        }
        match self.receive().await? {
            Message::AuthenticationOk => Ok(()),
            Message::ErrorResponse(body) => Err(refused(&body)),
            _ => Err(ExchangeError::Protocol),
        }
    }

    async fn send(&mut self) -> Result<(), ExchangeError> {
        self.stream
            .write_all(&self.output)
            .await
            .map_err(ExchangeError::Io)?;
        self.output.clear();
        self.stream.flush().await.map_err(ExchangeError::Io)
    }

    async fn receive(&mut self) -> Result<Message, ExchangeError> {
        loop {
            // The length is looked at before the parser makes room for it.
            if let Some(length) = self.input.get(1..5) {
                let length = length
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                if length > MAX_MESSAGE_BYTES {
                    return Err(ExchangeError::Protocol);
                }
            }
            if let Some(message) = Message::parse(&mut self.input).map_err(ExchangeError::Io)? {
                return Ok(message);
            }
            let read = self
                .stream
                .read_buf(&mut self.input)
                .await
                .map_err(ExchangeError::Io)?;
            if read == 0 {
                return Err(ExchangeError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// A message in place of the next one of the exchange.
fn not_scram(message: &Message) -> ExchangeError {
    ExchangeError::NotScram(match message {
        Message::AuthenticationOk => "nothing (trust, peer, ident or cert)",
        Message::AuthenticationCleartextPassword => "the password in clear text",
        Message::AuthenticationMd5Password(_) => "an MD5 digest of the password",
        Message::AuthenticationGss
        | Message::AuthenticationGssContinue(_)
        | Message::AuthenticationSspi
        | Message::AuthenticationKerberosV5 => "GSSAPI",
        Message::AuthenticationScmCredential => "socket credentials",
        _ => return ExchangeError::Protocol,
    })
}

/// The code only: the message of a refusal repeats the login.
fn refused(body: &ErrorResponseBody) -> ExchangeError {
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        if field.type_() == b'C' {
            let code = String::from_utf8_lossy(field.value_bytes());
            return ExchangeError::Refused(code.chars().take(5).collect());
        }
    }
    ExchangeError::Protocol
}
