//! HTTP/2 as frames, to send what a client library would hold back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// An unencrypted connection of a client that knows that the server speaks HTTP/2.
pub(crate) struct Connection {
    pub stream: TcpStream,
    authority: String,
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub kind: u8,
    flags: u8,
    pub id: u32,
    pub payload: Vec<u8>,
}

/// An answer: its status and body.
pub(crate) type Answer = (u16, String);

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .expect("it is read");
        let authority = address.to_string();
        let mut connection = Self { stream, authority };
        connection.send(&frame(SETTINGS, 0, 0, &[])).await;
        connection
    }

    /// Whether it could be sent; the other side may have had enough.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The frame of a request; without a body if it ends here.
    pub(crate) fn request(
        &self,
        id: u32,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        ends: bool,
    ) -> Vec<u8> {
        let mut block = Vec::new();
        let own = [
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", &self.authority),
        ];
        for (name, value) in own.iter().chain(headers) {
            // A literal that is not indexed, with a name of its own, neither compressed.
            block.push(0);
            for text in [name, value] {
                text_length(&mut block, text.len());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        frame(HEADERS, flags, id, &block)
    }

    /// A GET.
    pub(crate) fn get(&self, id: u32, path: &str, token: &str) -> Vec<u8> {
        let bearer = format!("Bearer {token}");
        self.request(id, ("GET", path), &[("authorization", &bearer)], true)
    }

    /// The next frame; `None` at the end of the connection. Answers what has to be answered.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            id: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        };
        if frame.flags & ACK == 0 {
            match frame.kind {
                SETTINGS => {
                    self.send(&self::frame(SETTINGS, ACK, 0, &[])).await;
                }
                PING => {
                    self.send(&self::frame(PING, ACK, 0, &frame.payload)).await;
                }
                _ => {}
            }
        }
        Some(frame)
    }

    /// Reads until the streams have ended, each with its answer or, in place of a status, with
    /// nothing if it was reset. Fails after ten seconds.
    pub(crate) async fn answers(&mut self, ids: &[u32]) -> Vec<Result<Answer, u32>> {
        let read = async {
            let mut answers: Vec<Answer> = vec![Answer::default(); ids.len()];
            let mut ended: Vec<Option<Result<(), u32>>> = vec![None; ids.len()];
            while ended.contains(&None) {
                let frame = self.next().await.expect("the connection goes on");
                let Some(at) = ids.iter().position(|id| *id == frame.id) else {
                    continue;
                };
                match frame.kind {
                    HEADERS => answers[at].0 = status(&frame.payload),
                    DATA => answers[at]
                        .1
                        .push_str(&String::from_utf8_lossy(&frame.payload)),
                    // After a whole answer it only says that the rest of the request is not read.
                    RESET if ended[at].is_none() => ended[at] = Some(Err(number(&frame.payload))),
                    _ => {}
                }
                if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                    ended[at] = Some(Ok(()));
                }
            }
            let ended = ended.into_iter().flatten();
            let answered = answers.into_iter().zip(ended);
            answered
                .map(|(answer, end)| end.map(|()| answer))
                .collect::<Vec<_>>()
        };
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .expect("answers in time")
    }
}

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The number in a frame that has nothing else.
pub(crate) fn number(payload: &[u8]) -> u32 {
    let bytes = payload.try_into().expect("four bytes");
    u32::from_be_bytes(bytes)
}

/// An integer behind a prefix of seven bits (RFC 7541, 5.1).
fn text_length(block: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 127;
    if length < PREFIX {
        block.push(u8::try_from(length).expect("small"));
        return;
    }
    block.push(127);
    let mut left = length - PREFIX;
    while left >= 128 {
        block.push(u8::try_from(left % 128).expect("small") | 128);
        left /= 128;
    }
    block.push(u8::try_from(left).expect("small"));
}

/// The status, which servers send first: by its index, or as a literal with the name's index.
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x08 | 0x48, 3, a, b, c, ..] => {
            let text = [*a, *b, *c];
            let text = std::str::from_utf8(&text).expect("digits");
            text.parse().expect("a number")
        }
        [0x08 | 0x48, compressed, rest @ ..] if compressed & 128 != 0 => {
            huffman_digits(&rest[..usize::from(compressed & 127)])
        }
        _ => panic!("no status in {block:02x?}"),
    }
}

/// A number in Huffman's code of RFC 7541: 0 to 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let (mut at, mut number) = (0, 0);
    let value = |bits: &[u8]| {
        bits.iter()
            .fold(0_u16, |value, bit| value * 2 + u16::from(*bit))
    };
    while let Some(five) = bits.get(at..at + 5) {
        let digit = match (value(five), bits.get(at..at + 6).map(value)) {
            (digit @ 0..=2, _) => {
                at += 5;
                digit
            }
            (_, Some(six @ 0b01_1001..=0b01_1111)) => {
                at += 6;
                six - 0b01_1001 + 3
            }
            _ => break,
        };
        number = number * 10 + digit;
    }
    number
}
