//! Proxies and poolers between us and a real server, which end TLS with a certificate of their own.

use std::process::Command;
use std::time::Duration;

use rolegate_auth::password::ExchangeError;
use rolegate_pg::own::{OwnPool, OwnPoolError};
use rolegate_pg::wire::{
    AuthenticationKind, ChannelBinding, ConnectError, Connection, Endpoint, TlsMode,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::certificates::{Authority, Signature};
use crate::played::{acceptor, authentication, serve};
use crate::server::{PASSWORD, Server};
use crate::{at, connect, connect_with, each_version, log_in, log_in_with, login, preferred};

/// How a proxy reaches the server.
#[derive(Clone, Copy)]
enum Behind {
    /// In plain text, as a pooler beside the server does.
    Plain,
    /// Over TLS again, giving everything on.
    Tls,
    /// The same, but what the server offers is cut down to the exchange without a binding.
    Downgraded,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The port of a proxy whose certificate is `authority`'s.
async fn proxy(authority: &Authority, server: u16, behind: Behind) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let acceptor = acceptor(&authority.issue(&["localhost"]));
    let connector = tokio_rustls::TlsConnector::from(authority.client());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.expect("accepts");
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            // What fails here fails for the client too.
            tokio::spawn(async move {
                let mut request = [0; 8];
                client.read_exact(&mut request).await?;
                client.write_all(b"S").await?;
                let client = acceptor.accept(client).await?;
                let mut to_server = TcpStream::connect(("127.0.0.1", server)).await?;
                let to_server: Box<dyn Stream> = if matches!(behind, Behind::Plain) {
                    Box::new(to_server)
                } else {
                    to_server.write_all(&request).await?;
                    assert_eq!(to_server.read_u8().await?, b'S');
                    let name = "localhost".try_into().expect("a name");
                    Box::new(connector.connect(name, to_server).await?)
                };
                pass_on(client, to_server, matches!(behind, Behind::Downgraded)).await
            });
        }
    });
    port
}

async fn pass_on(
    mut client: impl Stream,
    mut server: impl Stream,
    downgrade: bool,
) -> std::io::Result<()> {
    if downgrade {
        let length = client.read_u32().await?;
        let mut start = vec![0; length as usize - 4];
        client.read_exact(&mut start).await?;
        server.write_u32(length).await?;
        server.write_all(&start).await?;
        server.flush().await?;
        let _tag = server.read_u8().await?;
        let length = server.read_u32().await?;
        let mut offer = vec![0; length as usize - 4];
        server.read_exact(&mut offer).await?;
        let offer = String::from_utf8_lossy(&offer).into_owned();
        assert!(offer.contains("SCRAM-SHA-256-PLUS"), "{offer:?}");
        let less = authentication(10, b"SCRAM-SHA-256\0\0");
        client.write_all(&less).await?;
        client.flush().await?;
    }
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_ends_tls_is_used_where_that_was_chosen() {
    each_version(async |version| {
        let authority = Authority::new(Signature::EcdsaSha256);
        let Some(mut server) = Server::start(version, &authority.issue(&["localhost"])).await
        else {
            return;
        };
        server.admit_plain_text().await;
        let port = proxy(&authority, server.port(), Behind::Plain).await;

        let tls = || Some(authority.client());
        let refused = connect("localhost", port, tls(), PASSWORD).await;
        assert!(
            matches!(refused, Err(ConnectError::ChannelBinding(_))),
            "{refused:?}"
        );
        let refused = log_in("localhost", port, tls(), PASSWORD).await;
        assert!(
            matches!(refused, Err(ExchangeError::ChannelBinding(_))),
            "{refused:?}"
        );

        let (connection, kind) =
            connect_with("localhost", port, Some(preferred(&authority)), PASSWORD)
                .await
                .expect("the right password");
        assert_eq!(kind, AuthenticationKind::Scram);
        connection.close().await;
        log_in_with("localhost", port, Some(preferred(&authority)), PASSWORD)
            .await
            .expect("the right password");

        // The password is checked all the same, and so is the proxy's certificate.
        let refused = log_in_with("localhost", port, Some(preferred(&authority)), "wrong").await;
        assert!(
            matches!(&refused, Err(ExchangeError::Refused(code)) if code == "28P01"),
            "{refused:?}"
        );
        let stranger = Authority::new(Signature::EcdsaSha256);
        let refused = connect_with("localhost", port, Some(preferred(&stranger)), PASSWORD).await;
        assert!(matches!(refused, Err(ConnectError::Tls(_))), "{refused:?}");
        server.stop().await;
    })
    .await;
}

/// Where the server can be bound to, whoever is between us and it does not get through, although
/// his certificate is as good as the server's.
#[tokio::test]
async fn what_is_preferred_is_bound_where_the_server_offers_it() {
    each_version(async |version| {
        let authority = Authority::new(Signature::EcdsaSha256);
        let Some(server) = Server::start(version, &authority.issue(&["localhost"])).await else {
            return;
        };
        let (connection, kind) = connect_with(
            "localhost",
            server.port(),
            Some(preferred(&authority)),
            PASSWORD,
        )
        .await
        .expect("the right password");
        assert_eq!(kind, AuthenticationKind::BoundScram);
        connection.close().await;

        for behind in [Behind::Tls, Behind::Downgraded] {
            let port = proxy(&authority, server.port(), behind).await;
            let refused =
                connect_with("localhost", port, Some(preferred(&authority)), PASSWORD).await;
            assert!(
                matches!(refused, Err(ConnectError::Refused(_))),
                "{refused:?}"
            );
            let refused =
                log_in_with("localhost", port, Some(preferred(&authority)), PASSWORD).await;
            assert!(
                matches!(refused, Err(ExchangeError::Refused(_))),
                "{refused:?}"
            );
        }
        server.stop().await;
    })
    .await;
}

/// A server that has no TLS and goes on if the client does; what it is told then.
async fn without_tls() -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.expect("a request");
        stream.write_all(b"N").await.expect("sent");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest
    });
    (port, task)
}

/// The ports for the process that has the authority among its roots.
const PORTS: &str = "ROLEGATE_TEST_PROXY_PORTS";

/// The pool for our own work has another driver; it keeps to the same.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the roots of a machine come from its environment"
)]
async fn our_own_pool_keeps_to_what_was_chosen() {
    if let Ok(ports) = std::env::var(PORTS) {
        let ports: Vec<u16> = ports
            .split(',')
            .map(|port| port.parse().expect("a port"))
            .collect();
        return our_own_pool(&ports).await;
    }
    each_version(async |version| {
        let authority = Authority::new(Signature::EcdsaSha256);
        let Some(mut server) = Server::start(version, &authority.issue(&["localhost"])).await
        else {
            return;
        };
        server.admit_plain_text().await;
        let ends_tls = proxy(&authority, server.port(), Behind::Plain).await;
        let downgrades = proxy(&authority, server.port(), Behind::Downgraded).await;
        let (clear_text, clear_text_said) = serve(&authority, authentication(3, &[])).await;
        let (md5, md5_said) = serve(&authority, authentication(5, &[1, 2, 3, 4])).await;
        let (no_tls, no_tls_said) = without_tls().await;
        let ports = [ends_tls, downgrades, clear_text, md5, no_tls].map(|port| port.to_string());
        let roots = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(roots.path(), authority.pem()).expect("a file");
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child
            .args(["--exact", "proxies::our_own_pool_keeps_to_what_was_chosen"])
            .env(PORTS, ports.join(","))
            .env("SSL_CERT_FILE", roots.path())
            .env_remove("SSL_CERT_DIR");
        // The proxies run here meanwhile.
        let output = tokio::task::spawn_blocking(move || child.output());
        let output = output.await.expect("it runs").expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        for said in [clear_text_said, md5_said, no_tls_said] {
            assert_eq!(said.await.expect("played"), b"");
        }
        server.stop().await;
    })
    .await;
}

async fn our_own_pool(ports: &[u16]) {
    let &[ends_tls, downgrades, clear_text, md5, no_tls] = ports else {
        panic!("{ports:?}");
    };
    let get = async |port, binding| -> Result<(), OwnPoolError> {
        let endpoint = Endpoint {
            address: at("localhost", port),
            tls: TlsMode::VerifyFull(binding),
            database: "postgres".to_owned(),
        };
        let pool = OwnPool::new(&endpoint, &login(PASSWORD), 1).expect("a pool");
        pool.get().await?.query_one("select 1", &[]).await?;
        Ok(())
    };
    let refused = get(ends_tls, ChannelBinding::Require).await;
    assert!(refused.is_err(), "it offers nothing to bind to");
    get(ends_tls, ChannelBinding::Prefer)
        .await
        .expect("as it was chosen");
    for port in [downgrades, clear_text, md5, no_tls] {
        let refused = get(port, ChannelBinding::Prefer).await;
        assert!(refused.is_err(), "{port} of {ports:?}");
    }

    // The wire client with the machine's roots.
    let endpoint = |binding| Endpoint {
        address: at("localhost", ends_tls),
        tls: TlsMode::VerifyFull(binding),
        database: "postgres".to_owned(),
    };
    let limit = Duration::from_secs(10);
    let open = async |binding| {
        Connection::open(&endpoint(binding), &login(PASSWORD), &[], limit)
            .await
            .map(|(_, kind)| kind)
    };
    let kind = open(ChannelBinding::Prefer).await.expect("connects");
    assert_eq!(kind, AuthenticationKind::Scram);
    let refused = open(ChannelBinding::Require).await;
    assert!(
        matches!(refused, Err(ConnectError::ChannelBinding(_))),
        "{refused:?}"
    );
}
