//! One connection: write, read the answer, count, again.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::count::Count;
use crate::request::Request;
use crate::response::{self, Response, ResponseError};
use crate::run::Phases;

/// How long an answer may take. Past this the connection counts as broken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between attempts to connect, so that a server that refuses is not hammered.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Sends the request again and again until the phases are over; counts what was *begun* while
/// measuring.
pub async fn drive(request: Arc<Request>, phases: Phases, count: Rc<RefCell<Count>>) {
    let mut connection = None;
    while phases.go_on() {
        let measured = phases.measuring() && phases.take();
        if phases.measuring() && !measured {
            break;
        }
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Connection::open(&request).await {
                Ok(open) => open,
                Err(error) => {
                    if measured {
                        count
                            .borrow_mut()
                            .broke(format!("connect: {}", error.kind()));
                    }
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    continue;
                }
            },
        };
        let begun = Instant::now();
        let exchanged = tokio::time::timeout(ANSWER_TIMEOUT, open.exchange(&request.bytes)).await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        match exchanged {
            Ok(Ok(answer)) => {
                let body = open.body(&answer);
                if measured {
                    count.borrow_mut().answer(
                        answer.status,
                        request.status,
                        request.accepts(body),
                        micros,
                        body,
                    );
                }
                if !answer.closes {
                    open.consume(&answer);
                    connection = Some(open);
                }
            }
            Ok(Err(error)) if measured => count.borrow_mut().broke(error.to_string()),
            Err(_) if measured => count.borrow_mut().broke("no answer in time".to_owned()),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(request: &Request) -> io::Result<Self> {
        let stream = TcpStream::connect(request.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        })
    }

    async fn exchange(&mut self, bytes: &[u8]) -> io::Result<Response> {
        self.stream.write_all(bytes).await?;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match response::parse(&self.buffer) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(error @ (ResponseError::Malformed(_) | ResponseError::NoLength)) => {
                    return Err(io::Error::other(error));
                }
            }
        }
    }

    fn body(&self, answer: &Response) -> &[u8] {
        &self.buffer[answer.head..answer.head + answer.body]
    }

    fn consume(&mut self, answer: &Response) {
        self.buffer.drain(..answer.head + answer.body);
    }
}
