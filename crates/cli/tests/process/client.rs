//! One keep-alive connection, byte by byte: a library would hide how an answer ended.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of an answer.
    Answer { status: u16, body: String },
    /// The connection was closed before the first byte of an answer.
    Closed,
    /// There was no connection to send it on.
    Refused,
    /// Part of an answer.
    Cut(String),
}

/// A client that keeps its connection as long as the server does.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// Sends one request and reads its answer. Nothing is ever sent twice.
    pub(crate) async fn send(&mut self, head: &str, body: &str) -> Outcome {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => match TcpStream::connect(self.address).await {
                Ok(stream) => stream,
                Err(_) => return Outcome::Refused,
            },
        };
        let length = body.len();
        let request = format!("{head}Host: test\r\nContent-Length: {length}\r\n\r\n{body}");
        // A connection that is closed already fails here or at the first read.
        if stream.write_all(request.as_bytes()).await.is_err() {
            return Outcome::Closed;
        }
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some(answer) = Answer::parse(&bytes) {
                if !answer.closes {
                    self.stream = Some(stream);
                }
                return answer.outcome;
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) if bytes.is_empty() => return Outcome::Closed,
                Ok(0) | Err(_) => return Outcome::Cut(String::from_utf8_lossy(&bytes).into()),
                Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

struct Answer {
    outcome: Outcome,
    closes: bool,
}

impl Answer {
    /// The answer, once all of it is there.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let (mut length, mut closes) = (None, false);
        for line in lines {
            let (name, value) = line.split_once(": ")?;
            match name {
                "content-length" => length = value.parse::<usize>().ok(),
                "connection" => closes = value == "close",
                _ => {}
            }
        }
        let length = length.expect("an answer that says how long it is");
        assert!(body.len() <= length, "more than an answer: {text}");
        (body.len() == length).then(|| Self {
            outcome: Outcome::Answer {
                status,
                body: body.to_owned(),
            },
            closes,
        })
    }
}
