//! TLS for a driver that would send a password in clear text, or its MD5 digest, to a server that
//! asks for it: the question does not reach the driver.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// `AuthenticationCleartextPassword` and `AuthenticationMD5Password`.
const CLEAR_TEXT: u8 = 3;
const MD5: u8 = 5;
/// Tag, length and kind of an authentication request.
const REQUEST_BYTES: usize = 9;

/// Makes connections on which only SCRAM is spoken of.
#[derive(Clone)]
pub(super) struct OnlyScram<M>(pub(super) M);

impl<S, M: MakeTlsConnect<S>> MakeTlsConnect<S> for OnlyScram<M>
where
    S: Send + 'static,
    M::TlsConnect: Send + 'static,
    <M::TlsConnect as TlsConnect<S>>::Future: Send,
{
    type Stream = Guarded<M::Stream>;
    type TlsConnect = OnlyScram<M::TlsConnect>;
    type Error = M::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        self.0.make_tls_connect(domain).map(OnlyScram)
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for OnlyScram<T>
where
    S: Send + 'static,
    T: Send + 'static,
    T::Future: Send,
{
    type Stream = Guarded<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { self.0.connect(stream).await.map(Guarded::new) })
    }
}

/// A stream whose first message, which begins with nine bytes, is looked at before it is given on.
pub(super) struct Guarded<S> {
    stream: S,
    /// What has come of the first message, while it is not known.
    first: Option<Vec<u8>>,
}

impl<S> Guarded<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            first: Some(Vec::with_capacity(REQUEST_BYTES)),
        }
    }

    /// Looks at bytes that have come. The driver acts on no message before all of it is there.
    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(first) = &mut self.first else {
            return Ok(());
        };
        let missing = REQUEST_BYTES - first.len();
        first.extend(bytes.iter().take(missing));
        if first.len() < REQUEST_BYTES {
            return Ok(());
        }
        // The kinds have four bytes; those that are refused are small numbers.
        let refused = matches!(&first[..], [b'R', _, _, _, _, 0, 0, 0, CLEAR_TEXT | MD5]);
        self.first = None;
        if refused {
            return Err(io::Error::other(
                "the server asked for the password itself, not for SCRAM",
            ));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let looked = self.look(buffer.filled().get(before..).unwrap_or_default());
        if looked.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(looked)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Guarded<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What is read of a server that sends `bytes`, `piece` at a time.
    async fn read(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let (ours, mut theirs) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            let _ = theirs.write_all(&bytes).await;
        });
        let mut read = Vec::new();
        Guarded::new(ours).read_to_end(&mut read).await?;
        Ok(read)
    }

    fn request(kind: u8) -> Vec<u8> {
        [&b"R\0\0\0\x0c\0\0\0"[..], &[kind], b"salt"].concat()
    }

    #[tokio::test]
    async fn the_password_is_not_asked_for() {
        for piece in [1, 4, 9, 64] {
            for kind in [CLEAR_TEXT, MD5] {
                assert!(read(&request(kind), piece).await.is_err(), "{kind} {piece}");
            }
            for kind in [0, 10, 11, 12] {
                let bytes = request(kind);
                assert_eq!(read(&bytes, piece).await.expect("read"), bytes);
            }
            // Later bytes are anything.
            let later = [request(10), request(CLEAR_TEXT)].concat();
            assert_eq!(read(&later, piece).await.expect("read"), later);
            assert_eq!(read(b"R\0\0", piece).await.expect("read"), b"R\0\0");
        }
    }
}
