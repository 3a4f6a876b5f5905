//! HTTP/1 as bytes, to say what a client library would not.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far more than an answer takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Sends `bytes` and returns everything that comes until the gateway closes the connection; `None`
/// if it does not in time.
pub(crate) async fn until_closed(address: SocketAddr, bytes: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes).await.expect("it is read");
    rest(&mut stream, PATIENCE).await
}

/// What comes until the connection is closed; `None` if it is not in time.
pub(crate) async fn rest(stream: &mut TcpStream, time: Duration) -> Option<String> {
    let mut received = Vec::new();
    let read = async {
        let mut chunk = [0; 4096];
        // A reset is an end, too.
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            received.extend_from_slice(&chunk[..length]);
        }
    };
    tokio::time::timeout(time, read).await.ok()?;
    Some(String::from_utf8_lossy(&received).into_owned())
}

/// Statuses of all answers in what was received.
pub(crate) fn statuses(received: &str) -> Vec<u16> {
    received
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer[..3].parse().expect("a status"))
        .collect()
}
