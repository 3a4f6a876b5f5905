//! The byte stream to a server.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::address::{Address, Tls};
use super::certificate;
use super::scram::Channel;
use super::startup::ConnectError;

/// A connected stream.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How a server is reached.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) address: Address,
    /// With it a TCP connection is encrypted and the server's certificate verified.
    pub(super) tls: Option<Tls>,
}

impl Route {
    /// Connects, and agrees on TLS where asked.
    pub(super) async fn connect(&self) -> Result<Stream, ConnectError> {
        match &self.address {
            Address::Unix { directory, port } => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                Ok(Stream::Unix(UnixStream::connect(path).await?))
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let Some(tls) = &self.tls else {
                    return Ok(Stream::Tcp(stream));
                };
                let encrypted = handshake(stream, host, Arc::clone(&tls.config)).await?;
                Ok(Stream::Tls(Box::new(encrypted)))
            }
        }
    }
}

impl Stream {
    /// What a SCRAM exchange over this stream is bound to.
    pub(super) fn channel(&self) -> Channel {
        let Self::Tls(stream) = self else {
            return Channel::Plain;
        };
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(<[_]>::first);
        Channel::Tls(certificate.and_then(|certificate| certificate::server_end_point(certificate)))
    }
}

/// The machine's roots, TLS 1.2 and 1.3.
pub fn tls_config() -> Result<ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // A root that cannot be parsed vouches for nobody.
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// [`tls_config`], read from the machine once: it is some hundred files.
pub(super) fn machine_tls() -> Result<Arc<ClientConfig>, ConnectError> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, rustls::Error>> = OnceLock::new();
    CONFIG
        .get_or_init(|| tls_config().map(Arc::new))
        .clone()
        .map_err(|error| ConnectError::Tls(io::Error::other(error)))
}

async fn handshake(
    mut stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    // One byte and no more: what came after it in plain text would count as encrypted.
    if stream.read_u8().await? != b'S' {
        return Err(ConnectError::Tls(io::Error::other(
            "the server does not offer TLS",
        )));
    }
    let name = rustls_pki_types::ServerName::try_from(host.to_owned())
        .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(ConnectError::Tls)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
