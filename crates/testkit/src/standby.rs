//! A standby of a test's own server, and a way that leads to one of the two.

use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rolegate_pg::cluster::SocketEndpoint;
use rolegate_pg::wire::{Address, Endpoint};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use crate::own_server::OwnServer;

/// A server that follows another one, which waits for it with each commit. It ends when this is dropped.
#[derive(Debug)]
pub struct Standby {
    _process: Child,
    sockets: SocketEndpoint,
    /// Where clients connect: the sockets of the server that they are to reach.
    way: PathBuf,
}

impl Standby {
    /// Stops the server, copies it, starts both, and waits until what is committed is on both.
    pub async fn of(server: &mut OwnServer, directory: &Path) -> Self {
        let cluster = &mut server.provisioned.cluster;
        cluster.stop().await.expect("it stops");
        let (data, copy) = (cluster.data_dir(), directory.join("standby"));
        let owner = std::fs::metadata(&data).expect("the data directory");
        let copied = Command::new("cp").arg("-a").arg(&data).arg(&copy).status();
        assert!(copied.await.expect("cp").success());
        let sockets = directory.join("s");
        std::fs::create_dir(&sockets).expect("our directory");
        let signal = copy.join("standby.signal");
        std::fs::write(&signal, "").expect("the copy");
        for path in [&sockets, &signal] {
            chown(path, Some(owner.uid()), Some(owner.gid())).expect("it is given away");
        }
        cluster.restart().await.expect("it starts again");

        // Physical replication is none of what the cluster lets in by itself.
        let superuser = cluster.endpoint().connect("postgres", "postgres").await;
        let superuser = superuser.expect("the superuser logs in");
        let setting = async |name: &str| -> String {
            let sql = format!("select pg_catalog.current_setting('{name}')");
            superuser
                .query_one(&sql, &[])
                .await
                .expect("a setting")
                .get(0)
        };
        let (hba, config) = (setting("hba_file").await, setting("config_file").await);
        let mut text = std::fs::read_to_string(&hba).expect("pg_hba.conf");
        text.push_str("local replication all trust\n");
        std::fs::write(&hba, text).expect("pg_hba.conf");
        let reload = "select pg_reload_conf()";
        superuser.batch_execute(reload).await.expect(reload);

        let (from, port) = (cluster.socket_dir().display(), cluster.port());
        let process = Command::new(cluster.binaries().directory.join("postgres"))
            .arg("-D")
            .arg(&copy)
            .args(["-c", &format!("config_file={config}")])
            .args([
                "-c",
                &format!("unix_socket_directories={}", sockets.display()),
            ])
            .args(["-c", "listen_addresses="])
            .args([
                "-c",
                &format!("primary_conninfo=host={from} port={port} user=postgres"),
            ])
            .uid(owner.uid())
            .gid(owner.gid())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the standby starts");
        let streams = "select exists (select from pg_stat_replication where state = 'streaming')";
        eventually(&superuser, streams).await;
        for sql in ["alter system set synchronous_standby_names = '*'", reload] {
            superuser.batch_execute(sql).await.expect(sql);
        }
        let waits = "select exists (select from pg_stat_replication where sync_state = 'sync')";
        eventually(&superuser, waits).await;
        let way = directory.join("way");
        symlink(cluster.socket_dir(), &way).expect("our directory");
        Self {
            _process: process,
            sockets: SocketEndpoint::new(sockets, port),
            way,
        }
    }

    /// The way to the server's database.
    pub fn endpoint(&self, server: &OwnServer) -> Endpoint {
        Endpoint {
            address: Address::Unix {
                directory: self.way.clone(),
                port: self.sockets.port(),
            },
            ..server.db.wire_endpoint()
        }
    }

    /// The standby's own database, as long as it is one.
    pub fn own_endpoint(&self, server: &OwnServer) -> Endpoint {
        Endpoint {
            address: Address::Unix {
                directory: self.sockets.directory().to_owned(),
                port: self.sockets.port(),
            },
            ..server.db.wire_endpoint()
        }
    }

    /// Connects by the way.
    pub async fn connect(
        &self,
        role: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let way = SocketEndpoint::new(self.way.clone(), self.sockets.port());
        way.connect(role, database).await
    }

    /// The standby becomes a server that takes writes, and the way leads to it.
    pub async fn promote(&self) {
        let superuser = self.sockets.connect("postgres", "postgres").await;
        let superuser = superuser.expect("the superuser logs in to the standby");
        // Roles that were let in after it was started.
        for sql in ["select pg_reload_conf()", "select pg_promote()"] {
            superuser.batch_execute(sql).await.expect(sql);
        }
        eventually(&superuser, "select not pg_is_in_recovery()").await;
        std::fs::remove_file(&self.way).expect("our link");
        symlink(self.sockets.directory(), &self.way).expect("our directory");
    }
}

/// Waits until `sql` is true.
async fn eventually(client: &Client, sql: &str) {
    for _ in 0..1000 {
        let row = client.query_one(sql, &[]).await.expect(sql);
        if row.get::<_, bool>(0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never: {sql}");
}
