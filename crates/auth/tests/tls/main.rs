//! Passwords over TLS, against real servers: bound to the certificate, or not at all.

mod certificates;
mod played;
mod proxies;
mod server;

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rolegate_auth::PasswordCheck;
use rolegate_auth::password::{ExchangeError, LoginError, LoginLimits, PasswordTarget};
use rolegate_model::SystemClock;
use rolegate_pg::own::OwnPool;
use rolegate_pg::wire::{
    Accepted, Address, AuthenticationKind, Batch, ChannelBinding, ConnectError, Connection,
    Endpoint, Login, Tls, TlsMode,
};
use rolegate_testkit::Version;
use rustls::ClientConfig;

use certificates::{Authority, Signature};
use server::{PASSWORD, ROLE, Server};

fn at(host: &str, port: u16) -> Address {
    Address::Tcp {
        host: host.to_owned(),
        port,
    }
}

fn login(password: &str) -> Login {
    Login {
        user: ROLE.to_owned(),
        password: Some(password.to_owned().into()),
    }
}

/// The wire client, as for callers' connections.
async fn connect(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    password: &str,
) -> Result<(Connection, AuthenticationKind), ConnectError> {
    connect_with(host, port, tls.map(Tls::bound), password).await
}

async fn connect_with(
    host: &str,
    port: u16,
    tls: Option<Tls>,
    password: &str,
) -> Result<(Connection, AuthenticationKind), ConnectError> {
    let login = login(password);
    let connected =
        Connection::open_with(at(host, port), tls, "postgres", &login, &[], Accepted::Any);
    tokio::time::timeout(Duration::from_secs(10), connected)
        .await
        .expect("an answer")
}

/// Where nothing has to be bound.
fn preferred(authority: &Authority) -> Tls {
    Tls {
        config: authority.client(),
        binding: ChannelBinding::Prefer,
    }
}

/// The password login.
async fn log_in(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    password: &str,
) -> Result<(), ExchangeError> {
    log_in_with(host, port, tls.map(Tls::bound), password).await
}

async fn log_in_with(
    host: &str,
    port: u16,
    tls: Option<Tls>,
    password: &str,
) -> Result<(), ExchangeError> {
    let target = PasswordTarget {
        host: host.to_owned(),
        port,
        database: "postgres".to_owned(),
        tls,
    };
    let check = PasswordCheck::new(target, LoginLimits::default(), Arc::new(SystemClock));
    let peer = IpAddr::from([192, 0, 2, 1]);
    match check.check(ROLE, &password.to_owned().into(), peer).await {
        Ok(role) => {
            assert_eq!(role.as_str(), ROLE);
            Ok(())
        }
        Err(LoginError::Exchange(error)) => Err(error),
        Err(error) => panic!("{error:?}"),
    }
}

async fn each_version(test: impl AsyncFn(Version)) {
    for version in Version::ALL {
        test(version).await;
    }
}

#[tokio::test]
async fn the_proof_is_bound_to_the_hash_of_the_certificate() {
    each_version(async |version| {
        let sha256 = Authority::new(Signature::EcdsaSha256);
        let Some(mut server) =
            Server::start(version, &sha256.issue(&["localhost", "127.0.0.1"])).await
        else {
            return;
        };
        let port = server.port();
        for signature in [Signature::EcdsaSha256, Signature::EcdsaSha384] {
            let authority = Authority::new(signature);
            server
                .present(&authority.issue(&["localhost", "127.0.0.1"]))
                .await;
            for host in ["localhost", "127.0.0.1"] {
                let tls = || Some(authority.client());
                let (connection, kind) = connect(host, port, tls(), PASSWORD)
                    .await
                    .expect("the right password");
                assert_eq!(kind, AuthenticationKind::BoundScram);
                connection.close().await;
                log_in(host, port, tls(), PASSWORD)
                    .await
                    .expect("the right password");

                let wrong = connect(host, port, tls(), "wrong").await;
                let Err(ConnectError::Refused(error)) = wrong else {
                    panic!("{version} {signature:?}: {wrong:?}")
                };
                assert_eq!(error.code, "28P01");
                let wrong = log_in(host, port, tls(), "wrong").await;
                assert!(
                    matches!(&wrong, Err(ExchangeError::Refused(code)) if code == "28P01"),
                    "{wrong:?}"
                );
            }
        }

        // Nothing to bind to: PostgreSQL has no hash for it either.
        let ed25519 = Authority::new(Signature::Ed25519);
        server.present(&ed25519.issue(&["localhost"])).await;
        let refused = connect("localhost", port, Some(ed25519.client()), PASSWORD).await;
        assert!(
            matches!(refused, Err(ConnectError::ChannelBinding(_))),
            "{refused:?}"
        );
        let refused = log_in("localhost", port, Some(ed25519.client()), PASSWORD).await;
        assert!(
            matches!(refused, Err(ExchangeError::ChannelBinding(_))),
            "{refused:?}"
        );
        let (_, kind) = connect_with("localhost", port, Some(preferred(&ed25519)), PASSWORD)
            .await
            .expect("without a binding, if that is allowed");
        assert_eq!(kind, AuthenticationKind::Scram);
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn another_authority_another_name_and_no_tls_are_refused() {
    each_version(async |version| {
        let authority = Authority::new(Signature::EcdsaSha256);
        let stranger = Authority::new(Signature::EcdsaSha256);
        let Some(mut server) = Server::start(version, &authority.issue(&["localhost"])).await
        else {
            return;
        };
        let port = server.port();

        let check = async |host: &str, tls: Arc<ClientConfig>| {
            let refused = connect(host, port, Some(Arc::clone(&tls)), PASSWORD).await;
            assert!(matches!(refused, Err(ConnectError::Tls(_))), "{refused:?}");
            let refused = log_in(host, port, Some(tls), PASSWORD).await;
            assert!(matches!(refused, Err(ExchangeError::Tls(_))), "{refused:?}");
        };
        check("localhost", stranger.client()).await;
        // The address of the same server, which the certificate does not name.
        check("127.0.0.1", authority.client()).await;
        server.present(&authority.issue(&["db.example"])).await;
        check("localhost", authority.client()).await;
        server.present(&authority.issue(&["localhost"])).await;

        // `hostssl`: without TLS there is no line for us.
        let refused = connect("127.0.0.1", port, None, PASSWORD).await;
        let Err(ConnectError::Refused(error)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(error.code, "28000");
        let refused = log_in("127.0.0.1", port, None, PASSWORD).await;
        assert!(
            matches!(&refused, Err(ExchangeError::Refused(code)) if code == "28000"),
            "{refused:?}"
        );

        // A server without TLS is not talked to in plain text.
        let superuser = server.superuser().await;
        for sql in ["alter system set ssl = off", "select pg_reload_conf()"] {
            superuser.execute(sql, &[]).await.expect("a setting");
        }
        loop {
            match connect("localhost", port, Some(authority.client()), PASSWORD).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(ConnectError::Tls(error)) => {
                    assert!(error.to_string().contains("does not offer TLS"), "{error}");
                    break;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        server.stop().await;
    })
    .await;
}

/// A cancel request has to find its way through TLS too.
#[tokio::test]
async fn a_statement_is_cancelled_over_tls() {
    each_version(async |version| {
        let authority = Authority::new(Signature::EcdsaSha384);
        let Some(server) = Server::start(version, &authority.issue(&["localhost"])).await else {
            return;
        };
        let tls = Some(authority.client());
        let (mut connection, _) = connect("localhost", server.port(), tls, PASSWORD)
            .await
            .expect("connects");
        let mut batch = Batch::default();
        batch
            .once("select pg_sleep(60)", &[], &[])
            .expect("a statement");
        batch.sync();
        connection.send(batch.take()).await.expect("sent");
        let superuser = server.superuser().await;
        let runs = format!(
            "select from pg_stat_activity where usename = '{ROLE}' and wait_event = 'PgSleep'"
        );
        while superuser.query(&runs, &[]).await.expect("rows").is_empty() {}
        connection
            .request_cancel(Duration::from_secs(5))
            .await
            .expect("asked");
        let ended = async { while !superuser.query(&runs, &[]).await.expect("rows").is_empty() {} };
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .expect("the statement ends");
        server.stop().await;
    })
    .await;
}

/// With the roots that a machine has, as the program runs. They come from the environment of a
/// process, so that this is one.
const ROLE_OF_CHILD: &str = "ROLEGATE_TEST_TLS_PORT";

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the roots of a machine come from its environment"
)]
async fn the_machines_roots_are_the_default() {
    if let Ok(port) = std::env::var(ROLE_OF_CHILD) {
        return with_the_machines_roots(port.parse().expect("a port")).await;
    }
    each_version(async |version| {
        let authority = Authority::new(Signature::EcdsaSha384);
        let Some(server) = Server::start(version, &authority.issue(&["localhost"])).await else {
            return;
        };
        let roots = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(roots.path(), authority.pem()).expect("a file");
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "the_machines_roots_are_the_default"])
            .env(ROLE_OF_CHILD, server.port().to_string())
            .env("SSL_CERT_FILE", roots.path())
            .env_remove("SSL_CERT_DIR")
            .output();
        let output = child.expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        server.stop().await;
    })
    .await;
}

async fn with_the_machines_roots(port: u16) {
    let endpoint = |host| Endpoint {
        address: at(host, port),
        tls: TlsMode::VerifyFull(ChannelBinding::Require),
        database: "postgres".to_owned(),
    };
    let limit = Duration::from_secs(10);
    let (_, kind) = Connection::open(&endpoint("localhost"), &login(PASSWORD), &[], limit)
        .await
        .expect("connects");
    assert_eq!(kind, AuthenticationKind::BoundScram);
    let refused = Connection::open(&endpoint("127.0.0.1"), &login(PASSWORD), &[], limit).await;
    assert!(matches!(refused, Err(ConnectError::Tls(_))), "{refused:?}");

    // Our own pool, whose driver is another one, and as strict.
    let own = OwnPool::new(&endpoint("localhost"), &login(PASSWORD), 1).expect("a pool");
    let client = own.get().await.expect("connects");
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await.expect("a row");
    assert!(row.get::<_, bool>(0));
    let own = OwnPool::new(&endpoint("127.0.0.1"), &login(PASSWORD), 1).expect("a pool");
    assert!(own.get().await.is_err());
}
