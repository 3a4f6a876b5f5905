//! Listening, and stopping without cutting anybody off.

mod taken;

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use taken::Taken;

/// The address a request came from, as the socket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The most bytes of the head of a request in HTTP/2, where many of them are held at a time.
const MAX_HTTP2_HEAD_BYTES: u32 = 16 * 1024;

/// Bounds of a listener.
#[derive(Debug, Clone)]
pub struct ListenLimits {
    /// Connections at the same time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// How long a client may take nothing of what it is sent.
    pub write_timeout: Duration,
    /// Bytes of the head of a request; of HTTP/2 at most 16 KiB.
    pub max_head_bytes: u32,
    /// HTTP/2 streams of one connection at the same time.
    pub max_streams: u32,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_mins(1),
            max_head_bytes: 64 * 1024,
            max_streams: 128,
        }
    }
}

impl ListenLimits {
    /// The same with another number of connections.
    #[must_use]
    pub fn with_connections(self, max_connections: usize) -> Self {
        Self {
            max_connections,
            ..self
        }
    }
}

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds; port 0 takes any free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets open requests end. Returns when the last connection is
    /// closed; the caller bounds how long it waits for that.
    pub async fn serve(self, router: Router, limits: ListenLimits, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(limits.max_connections));
        let builders = Arc::new(Builders::new(&limits));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                break;
            };
            let (stream, peer) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, or a client that left at once: neither is a reason
                        // to stop, the first is one to pause.
                        tracing::warn!(%error, "accept_failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let connection = Connection {
                builders: Arc::clone(&builders),
                stream,
                peer,
                first_request: limits.header_timeout,
                write_timeout: limits.write_timeout,
            }
            .serve(router.clone(), stop.clone());
            tracker.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
        drop(self.socket);
        tracker.close();
        tracker.wait().await;
    }
}

struct Builders {
    /// Of connections that begin like HTTP/1: most of them.
    first: http1::Builder,
    /// Of all others.
    any: auto::Builder<TokioExecutor>,
}

impl Builders {
    fn new(limits: &ListenLimits) -> Self {
        let most = usize::try_from(limits.max_head_bytes).unwrap_or(usize::MAX);
        let mut first = http1::Builder::new();
        first
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(most);
        let mut any = auto::Builder::new(TokioExecutor::new());
        any.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(most)
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(limits.max_head_bytes.min(MAX_HTTP2_HEAD_BYTES))
            .max_pending_accept_reset_streams(Some(32))
            .keep_alive_interval(Some(Duration::from_secs(30)));
        Self { first, any }
    }
}

struct Connection {
    builders: Arc<Builders>,
    stream: TcpStream,
    peer: SocketAddr,
    /// Time until the first request has to be there. While the version of HTTP is still open, and
    /// before the first stream of HTTP/2, there is no other bound.
    first_request: Duration,
    write_timeout: Duration,
}

/// Whether the client has begun to say something that is not HTTP/2. Looked at without taking it: a connection
/// that was begun by taking some bytes has twice the buffer for the rest of its life. `None`: the client is gone.
async fn is_http1(stream: &TcpStream) -> Option<bool> {
    const HTTP2: [u8; 4] = *b"PRI ";
    let mut start = [0; HTTP2.len()];
    match stream.peek(&mut start).await {
        Ok(0) | Err(_) => None,
        Ok(length) => Some(start[..length] != HTTP2[..length]),
    }
}

impl Connection {
    async fn serve(self, router: Router, stop: CancellationToken) {
        let peer = self.peer;
        // Answers are written whole; waiting for more would only add latency.
        let _ = self.stream.set_nodelay(true);
        let until = Instant::now() + self.first_request;
        let http1 = tokio::select! {
            begun = tokio::time::timeout_at(until, is_http1(&self.stream)) => begun.ok().flatten(),
            () = stop.cancelled() => None,
        };
        let Some(http1) = http1 else { return };
        let stream = TokioIo::new(Taken::new(self.stream, self.write_timeout));
        let asked = CancellationToken::new();
        let first = asked.clone();
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            first.cancel();
            request.extensions_mut().insert(PeerAddress(peer));
            let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
            let answer = router.clone().oneshot(request.map(Body::new));
            async move {
                let mut answer = answer.await.unwrap_or_else(|never| match never {});
                // Whether there was a Content-Length besides, hyper does not tell: a proxy that
                // went by it sees other requests behind this one than we do. None is read.
                if chunked {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let silent = async {
            tokio::select! {
                () = asked.cancelled() => std::future::pending().await,
                () = tokio::time::sleep_until(until) => {}
            }
        };
        if http1 {
            let connection = self.builders.first.serve_connection(stream, service);
            until_ended(pin!(connection), silent, stop).await;
        } else {
            // Rare, and large.
            let connection = self.builders.any.serve_connection(stream, service);
            until_ended(Box::pin(connection).as_mut(), silent, stop).await;
        }
    }
}

/// Until the connection ends, or nothing was asked on it in time. At `stop` what was asked is still answered.
async fn until_ended<C>(
    mut connection: Pin<&mut C>,
    silent: impl Future<Output = ()>,
    stop: CancellationToken,
) where
    C: GracefulConnection<Error: Display>,
{
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "connection_ended");
    }
}
