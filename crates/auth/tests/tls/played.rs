//! Servers that have the right certificate and do not bind to it: what a man in the middle offers.

use std::sync::Arc;

use rolegate_auth::password::ExchangeError;
use rolegate_pg::wire::ConnectError;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::certificates::{Authority, Identity, Signature};
use crate::server::PASSWORD;
use crate::{connect, connect_with, log_in, log_in_with, preferred};

pub(crate) fn acceptor(identity: &Identity) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("a certificate")],
            key.expect("a key"),
        )
        .expect("they fit");
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

/// Answers the start-up message with `answer`; what the client says after that.
pub(crate) async fn serve(authority: &Authority, answer: Vec<u8>) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let acceptor = acceptor(&authority.issue(&["localhost"]));
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.expect("a request");
        stream.write_all(b"S").await.expect("sent");
        let mut stream = acceptor.accept(stream).await.expect("TLS");
        let length = stream.read_u32().await.expect("a length") as usize;
        let mut start = vec![0; length - 4];
        stream.read_exact(&mut start).await.expect("a start-up");
        stream.write_all(&answer).await.expect("sent");
        stream.flush().await.expect("sent");
        let mut rest = Vec::new();
        // The client hangs up, politely or not.
        let _ = stream.read_to_end(&mut rest).await;
        rest
    });
    (port, task)
}

pub(crate) fn authentication(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).expect("short");
    let parts = [&b"R"[..], &length.to_be_bytes(), &kind.to_be_bytes(), body];
    parts.concat()
}

#[tokio::test]
async fn a_server_that_offers_less_than_the_bound_exchange_learns_nothing() {
    let authority = Authority::new(Signature::EcdsaSha256);
    let tls = || Some(authority.client());
    for answer in [
        authentication(10, b"SCRAM-SHA-256\0\0"),
        authentication(10, b"SCRAM-SHA-256\0SCRAM-SHA-1-PLUS\0\0"),
        authentication(10, b"\0"),
        authentication(3, &[]),
        authentication(5, &[1, 2, 3, 4]),
    ] {
        let (port, said) = serve(&authority, answer.clone()).await;
        let refused = connect("localhost", port, tls(), PASSWORD).await;
        assert!(
            matches!(
                refused,
                Err(ConnectError::ChannelBinding(_) | ConnectError::UnsupportedAuthentication(_))
            ),
            "{answer:?}: {refused:?}"
        );
        assert_eq!(said.await.expect("played"), b"", "{answer:?}");

        let (port, said) = serve(&authority, answer.clone()).await;
        let refused = log_in("localhost", port, tls(), PASSWORD).await;
        assert!(
            matches!(
                refused,
                Err(ExchangeError::ChannelBinding(_) | ExchangeError::NotScram(_))
            ),
            "{answer:?}: {refused:?}"
        );
        assert_eq!(said.await.expect("played"), b"", "{answer:?}");
    }
}

/// Without a binding a server still gets no more than a SCRAM proof, and the password login counts
/// nothing less.
#[tokio::test]
async fn without_a_binding_it_is_still_scram_or_nothing() {
    let authority = Authority::new(Signature::EcdsaSha256);
    for answer in [
        authentication(10, b"SCRAM-SHA-1\0SCRAM-SHA-1-PLUS\0\0"),
        authentication(10, b"\0"),
        authentication(3, &[]),
        authentication(5, &[1, 2, 3, 4]),
        authentication(7, &[]),
    ] {
        let (port, said) = serve(&authority, answer.clone()).await;
        let refused = connect_with("localhost", port, Some(preferred(&authority)), PASSWORD).await;
        assert!(
            matches!(refused, Err(ConnectError::UnsupportedAuthentication(_))),
            "{answer:?}: {refused:?}"
        );
        assert_eq!(said.await.expect("played"), b"", "{answer:?}");

        let (port, said) = serve(&authority, answer.clone()).await;
        let refused = log_in_with("localhost", port, Some(preferred(&authority)), PASSWORD).await;
        assert!(
            matches!(refused, Err(ExchangeError::NotScram(_))),
            "{answer:?}: {refused:?}"
        );
        assert_eq!(said.await.expect("played"), b"", "{answer:?}");
    }

    // Everybody is let in: that says nothing about a password.
    let everybody = [authentication(0, &[]), b"Z\0\0\0\x05I".to_vec()].concat();
    let (port, _) = serve(&authority, everybody).await;
    let refused = log_in_with("localhost", port, Some(preferred(&authority)), PASSWORD).await;
    assert!(
        matches!(refused, Err(ExchangeError::NotScram(_))),
        "{refused:?}"
    );

    // The server is told that we could have bound it.
    let (port, said) = serve(&authority, authentication(10, b"SCRAM-SHA-256\0\0")).await;
    let waiting = connect_with("localhost", port, Some(preferred(&authority)), PASSWORD);
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(500), waiting).await;
    assert!(waiting.is_err(), "the server says no more");
    let said = said.await.expect("played");
    let begun = said.windows(5).any(|bytes| bytes == b"y,,n=");
    assert!(begun, "{:?}", String::from_utf8_lossy(&said));
}
