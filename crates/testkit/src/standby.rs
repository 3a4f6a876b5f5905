//! A standby of a test's own server, and a way that leads to one of the two.

use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rolegate_pg::cluster::{Cluster, SocketEndpoint};
use rolegate_pg::wire::{Address, Endpoint};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use crate::own_server::OwnServer;

/// A server that follows another one. It ends when this is dropped.
#[derive(Debug)]
pub struct Standby {
    process: Child,
    command: Command,
    sockets: SocketEndpoint,
    /// Where clients connect: the sockets of the server that they are to reach.
    way: PathBuf,
}

impl Standby {
    /// The same as [`Standby::trailing`], and then the server waits for it with each commit.
    pub async fn of(server: &mut OwnServer, directory: &Path) -> Self {
        let standby = Self::trailing(server, directory).await;
        let cluster = &server.provisioned.cluster;
        let superuser = cluster.endpoint().connect("postgres", "postgres").await;
        let superuser = superuser.expect("the superuser logs in");
        let reload = "select pg_reload_conf()";
        for sql in ["alter system set synchronous_standby_names = '*'", reload] {
            superuser.batch_execute(sql).await.expect(sql);
        }
        let waits = "select exists (select from pg_stat_replication where sync_state = 'sync')";
        eventually(&superuser, waits).await;
        standby
    }

    /// Stops the server, copies it, starts both, and waits until the copy follows.
    pub async fn trailing(server: &mut OwnServer, directory: &Path) -> Self {
        Self::behind(&mut server.provisioned.cluster, directory).await
    }

    /// The same of any cluster.
    pub async fn behind(cluster: &mut Cluster, directory: &Path) -> Self {
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
        let mut command = Command::new(cluster.binaries().directory.join("postgres"));
        command
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
            .kill_on_drop(true);
        let process = command.spawn().expect("the standby starts");
        let streams = "select exists (select from pg_stat_replication where state = 'streaming')";
        eventually(&superuser, streams).await;
        let way = directory.join("way");
        symlink(cluster.socket_dir(), &way).expect("our directory");
        Self {
            process,
            command,
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

    /// Where it lets people in.
    pub fn sockets(&self) -> &SocketEndpoint {
        &self.sockets
    }

    /// Its superuser, in a database.
    pub async fn superuser(&self, database: &str) -> Client {
        let superuser = self.sockets.connect("postgres", database).await;
        superuser.expect("the superuser logs in to the standby")
    }

    /// Sets something that needs no restart, there alone, and waits until it is in force.
    pub async fn set(&self, name: &str, value: &str) {
        let superuser = self.superuser("postgres").await;
        for sql in [
            format!("alter system set {name} = '{value}'"),
            "select pg_reload_conf()".into(),
        ] {
            superuser.batch_execute(&sql).await.expect(&sql);
        }
        let is = format!("select current_setting('{name}') = '{value}'");
        eventually(&superuser, &is).await;
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        let pid = self.process.id().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("an id"));
        // As `immediate` of pg_ctl: its children end, too.
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).expect("it runs");
        self.process.wait().await.expect("it ends");
    }

    /// Starts it after that, and waits until it lets somebody in.
    pub async fn start(&mut self) {
        self.process = self.command.spawn().expect("the standby starts");
        for _ in 0..1000 {
            if self.sockets.connect("postgres", "postgres").await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the standby does not come back");
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
        let superuser = self.superuser("postgres").await;
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
