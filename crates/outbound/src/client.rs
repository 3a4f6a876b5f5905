//! One POST with bounds on everything.

use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::redirect;
use tokio::time::Instant;

use crate::guard::Guard;
use crate::resolve::{AddressRefused, Guarded, Lookup, SystemLookup};
use crate::target::Target;

/// Until a connection stands, if there is more time than that.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept without work.
const IDLE: Duration = Duration::from_secs(30);
/// Headers of an answer.
const HEADERS: usize = 100;

/// Sends requests. Its connections go where the guard lets them.
#[derive(Clone)]
pub struct Client {
    encrypted: reqwest::Client,
    plain: reqwest::Client,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The TLS set-up failed.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be made")]
pub struct ClientError(#[source] reqwest::Error);

/// What is sent, and how long that may take.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where to.
    pub target: &'a Target,
    /// All of them but `Host` and `Content-Length`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Until the last byte of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body that are read.
    pub max_answer: usize,
}

/// An answer, of whatever status. A redirect is one of them.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, or what there was of it.
    pub body: Bytes,
    /// How the body ended.
    pub end: BodyEnd,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// All of it is there.
    Whole,
    /// There is more of it than may be.
    TooLong,
    /// Time was over.
    Late,
    /// The connection broke.
    Broken,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The name leads where nothing goes.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// Time was over before there was a status.
    #[error("no answer within {} seconds", .0.as_secs_f64())]
    Late(Duration),
    /// No connection: refused, unreachable, unknown name, TLS.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke, or what came is no HTTP.
    #[error("no answer: {0}")]
    Broken(String),
}

impl Client {
    /// Asks the system for addresses.
    pub fn new(guard: &Guard) -> Result<Self, ClientError> {
        let system: Arc<dyn Lookup> = Arc::new(SystemLookup);
        Self::with_lookup(guard, &system)
    }

    /// Asks `lookup` for addresses.
    pub fn with_lookup(guard: &Guard, lookup: &Arc<dyn Lookup>) -> Result<Self, ClientError> {
        let guard = Arc::new(guard.clone());
        let client = |plain: bool| {
            let resolver = Guarded {
                lookup: Arc::clone(lookup),
                guard: Arc::clone(&guard),
                plain,
            };
            reqwest::Client::builder()
                .dns_resolver(resolver)
                .https_only(!plain)
                .redirect(redirect::Policy::none())
                // The environment says nothing here, and a proxy would do what the guard forbids.
                .no_proxy()
                .referer(false)
                // Whoever enqueued it decides how often it is tried.
                .retry(reqwest::retry::never())
                .http1_only()
                .http1_max_headers(HEADERS)
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(16)
                .user_agent(concat!("rolegate/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(ClientError)
        };
        Ok(Self {
            encrypted: client(false)?,
            plain: client(true)?,
        })
    }

    /// Sends a request, and reads the answer within its bounds.
    pub async fn post(&self, request: Request<'_>) -> Result<Answer, SendError> {
        let end = Instant::now() + request.timeout;
        let client = if request.target.is_plain() {
            &self.plain
        } else {
            &self.encrypted
        };
        let sent = client
            .post(request.target.url().clone())
            .headers(request.headers)
            .body(request.body)
            .send();
        let mut response = match tokio::time::timeout_at(end, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failed(error, request.timeout)),
            Err(_) => return Err(SendError::Late(request.timeout)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        let end = loop {
            match tokio::time::timeout_at(end, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    let room = request.max_answer - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        break BodyEnd::TooLong;
                    }
                }
                Ok(Ok(None)) => break BodyEnd::Whole,
                Ok(Err(_)) => break BodyEnd::Broken,
                Err(_) => break BodyEnd::Late,
            }
        };
        Ok(Answer {
            status,
            headers,
            body: body.freeze(),
            end,
        })
    }
}

/// Without the URL, which may have a key in its query.
fn failed(error: reqwest::Error, timeout: Duration) -> SendError {
    let error = error.without_url();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    let mut last = None;
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
            return SendError::Address(refused.clone());
        }
        last = Some(inner);
        cause = inner.source();
    }
    // The innermost one says what happened.
    let what = last.map_or_else(|| error.to_string(), ToString::to_string);
    if error.is_connect() {
        SendError::Connect(what)
    } else if error.is_timeout() {
        SendError::Late(timeout)
    } else {
        SendError::Broken(what)
    }
}

impl SendError {
    /// The address that was refused.
    pub fn refused_address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(refused) => Some(refused.address),
            _ => None,
        }
    }
}
