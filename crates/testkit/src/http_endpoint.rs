//! An HTTP endpoint that answers as a test tells it, byte by byte if need be, and remembers what it
//! was asked.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// An endpoint on a free port of 127.0.0.1. It stops when this is dropped.
#[derive(Debug)]
pub struct HttpEndpoint {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Names in lower case, in the order they came in.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Which connection, from 0.
    pub connection: usize,
}

/// What the endpoint does then.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A well-formed answer: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, each piece after a pause; then the connection is closed.
    Bytes(Vec<(Duration, Vec<u8>)>),
    /// Nothing; the connection is closed.
    Close,
    /// Nothing, for ever.
    Silence,
}

impl Reply {
    /// An answer without headers of its own.
    pub fn of(status: u16, body: &str) -> Self {
        Self::Answer(status, Vec::new(), body.as_bytes().to_vec())
    }

    /// With one more header, if it is an answer.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer(_, headers, _) = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

impl Asked {
    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(given, _)| given == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

type Answers = dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync;

impl HttpEndpoint {
    /// Starts, with a function that answers.
    pub async fn start<F, R>(answers: F) -> std::io::Result<Self>
    where
        F: Fn(Asked) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Answers> = Arc::new(move |asked| Box::pin(answers(asked)));
        let server = tokio::spawn(serve(listener, Arc::clone(&asked), answers));
        Ok(Self {
            address,
            asked,
            server,
        })
    }

    /// Starts, and answers always in the same way.
    pub async fn always(reply: Reply) -> std::io::Result<Self> {
        Self::start(move |_| std::future::ready(reply.clone())).await
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for HttpEndpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, asked: Arc<Mutex<Vec<Asked>>>, answers: Arc<Answers>) {
    // They end with the server.
    let mut connections = JoinSet::new();
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let (asked, answers) = (Arc::clone(&asked), Arc::clone(&answers));
        connections.spawn(async move {
            // A client that goes away is no matter of ours.
            let _ = converse(stream, connection, &asked, &*answers).await;
        });
    }
}

async fn converse(
    mut stream: TcpStream,
    connection: usize,
    asked: &Mutex<Vec<Asked>>,
    answers: &Answers,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some(request) = next(&mut stream, &mut bytes, connection).await? else {
            return Ok(());
        };
        asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        match answers(request).await {
            Reply::Answer(status, headers, body) => {
                let length = body.len();
                let mut head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n");
                for (name, value) in headers {
                    head.extend([name, ": ", &value, "\r\n"]);
                }
                head.push_str("\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            Reply::Bytes(pieces) => {
                for (pause, piece) in pieces {
                    tokio::time::sleep(pause).await;
                    stream.write_all(&piece).await?;
                }
                return stream.shutdown().await;
            }
            Reply::Close => return Ok(()),
            Reply::Silence => std::future::pending().await,
        }
    }
}

/// The next request; `None` if there is none any more.
async fn next(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    connection: usize,
) -> std::io::Result<Option<Asked>> {
    let mut buffer = [0; 4096];
    loop {
        if let Some((request, length)) = parse(bytes, connection) {
            bytes.drain(..length);
            return Ok(Some(request));
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// A whole request with a `Content-Length`, and its length.
fn parse(bytes: &[u8], connection: usize) -> Option<(Asked, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap_or(0));
    let body = bytes.get(end..end + length)?.to_vec();
    let asked = Asked {
        line,
        headers,
        body,
        connection,
    };
    Some((asked, end + length))
}
