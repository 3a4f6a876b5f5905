//! A private cluster with TLS, whose certificate a test may change.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rolegate_pg::cluster::{Cluster, Options, Source, WHEEL_MAJOR};
use rolegate_testkit::Version;
use rolegate_testkit::provision::default_cache_directory;
use tempfile::TempDir;
use tokio::time::{Duration, Instant};
use tokio_postgres::Client;

use crate::certificates::Identity;

/// The role with a password.
pub(crate) const ROLE: &str = "ann";
pub(crate) const PASSWORD: &str = "correct horse";

/// TCP only with TLS and SCRAM; the socket stays as it is, for the test's own work.
const HBA: &str = "\
local   all all              peer map=rolegate
hostssl all all 127.0.0.1/32 scram-sha-256
";

pub(crate) struct Server {
    cluster: Cluster,
    identities: usize,
    place: TempDir,
}

impl Server {
    /// `None` if this machine has a server of the version only without TLS, which is so where the
    /// newest one comes from the wheel. The oldest one has it everywhere.
    pub(crate) async fn start(version: Version, identity: &Identity) -> Option<Self> {
        let place = tempfile::Builder::new()
            .prefix("rg-tls-")
            .tempdir()
            .expect("a directory");
        // As root, the server runs as another user, who has to get in there.
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755))
            .expect("our directory");
        let options = |source| Options {
            source,
            search_path: search_path(),
            cache_directory: Some(default_cache_directory()),
            durable: false,
            max_connections: 20,
            ..Options::new(place.path().join("cluster"))
        };
        let major = version.major();
        let system = Source::System { major: Some(major) };
        let mut cluster = match Cluster::start(options(system)).await {
            Err(_) if major == WHEEL_MAJOR => Cluster::start(options(Source::Wheel)).await,
            started => started,
        }
        .expect("a cluster");
        let endpoint = cluster.endpoint().clone();
        let client = endpoint.connect("postgres", "postgres").await;
        let client = client.expect("the socket");
        if let Err(error) = client.execute("alter system set ssl = on", &[]).await {
            cluster.stop().await.expect("it stops");
            assert_eq!(version, Version::Pg18, "{error:?}");
            tell(&format!("{version} of this machine has no TLS: {error:?}"));
            return None;
        }
        let mut server = Self {
            cluster,
            identities: 0,
            place,
        };
        let role = format!("create role {ROLE} login password '{PASSWORD}'");
        client.batch_execute(&role).await.expect("a role");
        let hba = show(&client, "hba_file").await;
        std::fs::write(hba, HBA).expect("our file");
        server.present(identity).await;
        Some(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.cluster.port()
    }

    pub(crate) async fn superuser(&self) -> Client {
        let endpoint = self.cluster.endpoint();
        let connected = endpoint.connect("postgres", "postgres").await;
        connected.expect("the socket")
    }

    /// Takes another certificate from now on.
    pub(crate) async fn present(&mut self, identity: &Identity) {
        self.identities += 1;
        let data = self.cluster.data_dir();
        let file = |kind: &str| format!("server-{}.{kind}", self.identities);
        let (certificate, key) = (file("crt"), file("key"));
        give(&data, &certificate, &identity.certificate);
        give(&data, &key, &identity.key);
        let client = self.superuser().await;
        for sql in [
            format!("alter system set ssl_cert_file = '{certificate}'"),
            format!("alter system set ssl_key_file = '{key}'"),
            "select pg_reload_conf()".to_owned(),
        ] {
            client.execute(&sql, &[]).await.expect("a setting");
        }
        // Only new connections have what the server read.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let client = self.superuser().await;
            if show(&client, "ssl_cert_file").await == certificate
                && show(&client, "ssl").await == "on"
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the server took in no certificate"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the role in without TLS too, as where a proxy on the same machine has it.
    pub(crate) async fn admit_plain_text(&mut self) {
        let client = self.superuser().await;
        let hba = show(&client, "hba_file").await;
        std::fs::write(hba, HBA.replace("hostssl", "host   ")).expect("our file");
        let reload = "select pg_reload_conf()";
        client.execute(reload, &[]).await.expect("a reload");
        // The server reads the file when it hears of it.
        let deadline = Instant::now() + Duration::from_secs(20);
        while refused_in_plain_text(self.port()).await {
            assert!(Instant::now() < deadline, "the server took in no new rules");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn stop(mut self) {
        self.cluster.stop().await.expect("it stops");
        self.place.close().expect("our directory");
    }
}

async fn refused_in_plain_text(port: u16) -> bool {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).dbname("postgres");
    config.user(ROLE).password(PASSWORD);
    config.connect(tokio_postgres::NoTls).await.is_err()
}

async fn show(client: &Client, setting: &str) -> String {
    let sql = format!("show {setting}");
    let row = client.query_one(&sql, &[]).await.expect("a setting");
    row.get(0)
}

#[expect(clippy::print_stderr, reason = "what was not tested has to be seen")]
fn tell(what: &str) {
    eprintln!("{what}");
}

/// A file of the server's user that nobody else reads, as it demands of a key.
fn give(data: &Path, name: &str, text: &str) {
    let path = data.join(name);
    std::fs::write(&path, text).expect("a file");
    let owner = std::fs::metadata(data).expect("the data directory");
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("our file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("our file");
}

#[expect(
    clippy::disallowed_methods,
    reason = "servers of the machine are looked for as in with-clusters"
)]
fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}
