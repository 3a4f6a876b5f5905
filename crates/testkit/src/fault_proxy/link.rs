//! One connection through the proxy.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Weather;

/// One side of a connection.
pub(super) trait End: Send + 'static {
    type Reader: AsyncRead + Send + Unpin;
    type Writer: AsyncWrite + Send + Unpin;

    fn split(self) -> (Self::Reader, Self::Writer);

    /// Closes with a reset, where there is one.
    fn reset(reader: Self::Reader, writer: Self::Writer);
}

impl End for TcpStream {
    type Reader = tcp::OwnedReadHalf;
    type Writer = tcp::OwnedWriteHalf;

    fn split(self) -> (Self::Reader, Self::Writer) {
        // The proxy must not add delays of its own; a socket that is closed already needs none.
        let _ = self.set_nodelay(true);
        self.into_split()
    }

    fn reset(reader: Self::Reader, writer: Self::Writer) {
        // The halves must be one again: a dropped writer announces an ordinary end.
        if let Ok(stream) = reader.reunite(writer) {
            // Without it the other side sees an ordinary end, which is a cut too.
            let _ = stream.set_zero_linger();
        }
    }
}

impl End for UnixStream {
    type Reader = unix::OwnedReadHalf;
    type Writer = unix::OwnedWriteHalf;

    fn split(self) -> (Self::Reader, Self::Writer) {
        self.into_split()
    }

    fn reset(_: Self::Reader, _: Self::Writer) {}
}

/// Passes data in both directions until both sides have ended, or the connection is cut.
pub(super) async fn pass<C: End, S: End>(
    client: C,
    server: S,
    weather: watch::Receiver<Weather>,
    cut: CancellationToken,
) {
    let (mut client_reader, mut client_writer) = client.split();
    let (mut server_reader, mut server_writer) = server.split();
    let was_cut = {
        let forth = pump(&mut client_reader, &mut server_writer, weather.clone());
        let back = pump(&mut server_reader, &mut client_writer, weather);
        tokio::select! {
            () = cut.cancelled() => true,
            _ = async { tokio::join!(forth, back) } => false,
        }
    };
    if was_cut {
        C::reset(client_reader, client_writer);
        S::reset(server_reader, server_writer);
    }
}

/// One direction. An error of either side ends it like an end of the data.
async fn pump(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        // Fails when the proxy is gone, which cuts the connection anyway.
        if weather.wait_for(|weather| !weather.frozen).await.is_err() {
            return;
        }
        let read = tokio::select! {
            // A freeze must stop a read that is waiting already.
            changed = weather.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            read = reader.read(&mut buffer) => read,
        };
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match read {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if weather.wait_for(|weather| !weather.frozen).await.is_err()
                    || writer.write_all(&buffer[..length]).await.is_err()
                {
                    break;
                }
            }
        }
    }
    // The other side may be gone already.
    let _ = writer.shutdown().await;
}
