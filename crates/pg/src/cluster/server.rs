//! Making a cluster's files, and starting the server until it answers.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::binaries::Binaries;
use super::config::{self, Settings};
use super::directory::{ClusterDirectory, write};
use super::endpoint::SocketEndpoint;
use super::error::Error;
use super::hba::Admissions;
use super::os_user::OsUser;
use super::postmaster::{Postmaster, clean_command};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How many ports are tried: one that was free a moment ago may be taken by now.
const PORT_ATTEMPTS: u32 = 8;

/// The major version that made the cluster, if it was made.
pub(super) fn made_by(directory: &ClusterDirectory) -> Option<u32> {
    if !directory.marker.initialized {
        return None;
    }
    std::fs::read_to_string(directory.layout().data().join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// `initdb`, unless it was done.
pub(super) async fn initialize(
    directory: &mut ClusterDirectory,
    binaries: &Binaries,
    user: &OsUser,
    durable: bool,
) -> Result<(), Error> {
    if directory.marker.initialized {
        return Ok(());
    }
    let data = directory.empty_data(user)?;
    let program = binaries.program("initdb");
    let mut initdb = clean_command(&program);
    initdb
        .arg("--pgdata")
        .arg(&data)
        .args([
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
        ])
        .args([
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
            "--no-instructions",
        ]);
    if !durable {
        initdb.arg("--no-sync");
    }
    user.run_as(&mut initdb);
    let output = initdb
        .kill_on_drop(true)
        .output()
        .await
        .map_err(Error::io(format!("running {}", program.display())))?;
    if !output.status.success() {
        return Err(Error::Command {
            command: format!("{} --pgdata {}", program.display(), data.display()),
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    directory.marker.initialized = true;
    directory.save(user)
}

/// Starts the server, or takes over the one that runs in this directory already.
pub(super) async fn start(
    directory: &mut ClusterDirectory,
    binaries: &Binaries,
    user: &OsUser,
    settings: Settings,
    timeout: Duration,
) -> Result<(Postmaster, SocketEndpoint), Error> {
    let deadline = Instant::now() + timeout;
    let data = directory.layout().data();
    if let Some(port) = directory.marker.port
        && let Some(mut postmaster) = Postmaster::running(&data)?
    {
        let endpoint = SocketEndpoint::new(directory.marker.socket_directory.clone(), port);
        if answers(directory, &mut postmaster, &endpoint, 0, deadline)
            .await
            .is_ok()
        {
            return Ok((postmaster, endpoint));
        }
        // It was on its way down, or it answers to nobody: not the server we configured.
        postmaster.stop().await?;
    }
    let mut ports_tried = 0;
    loop {
        let port = choose_port(directory.marker.port)?;
        directory.marker.port = Some(port);
        directory.save(user)?;
        directory.clear_sockets()?;
        let endpoint = SocketEndpoint::new(directory.marker.socket_directory.clone(), port);
        let layout = directory.layout().clone();
        write(
            &layout.config("postgresql.conf"),
            &config::render(&layout, &endpoint, settings),
            user,
        )?;
        Admissions::new(layout.clone(), endpoint.clone(), user.clone()).write_all()?;

        let log = directory.open_log()?;
        let log_start = log.metadata().map_or(0, |metadata| metadata.len());
        let mut postmaster = spawn(directory, binaries, user, log)?;
        let error = match answers(directory, &mut postmaster, &endpoint, log_start, deadline).await
        {
            Ok(()) => return Ok((postmaster, endpoint)),
            Err(error) => error,
        };
        if postmaster.ended().is_none() {
            postmaster.stop().await?;
            return Err(error);
        }
        let said = read_from(&layout.log(), log_start);
        let shared_memory = said.contains("is still in use");
        let port_taken = said.contains("could not create any TCP/IP sockets");
        ports_tried += u32::from(port_taken);
        if Instant::now() >= deadline
            || !(shared_memory || port_taken)
            || ports_tried > PORT_ATTEMPTS
        {
            return Err(error);
        }
        if shared_memory {
            // The backends of a killed server end as soon as they notice.
            tokio::time::sleep(LOOK_EVERY * 5).await;
        }
    }
}

fn spawn(
    directory: &ClusterDirectory,
    binaries: &Binaries,
    user: &OsUser,
    log: std::fs::File,
) -> Result<Postmaster, Error> {
    let program = binaries.program("postgres");
    let failed = || Error::io(format!("running {}", program.display()));
    let mut setting = std::ffi::OsString::from("config_file=");
    setting.push(directory.layout().config("postgresql.conf"));
    let mut command = clean_command(&program);
    command
        .arg("-D")
        .arg(directory.layout().data())
        .arg("-c")
        .arg(setting)
        // An interrupt from the terminal is for us; we stop the server when we are done.
        .process_group(0)
        .stdout(log.try_clone().map_err(failed())?)
        .stderr(log);
    user.run_as(&mut command);
    let child = command.spawn().map_err(failed())?;
    Postmaster::spawned(child, directory.layout().data())
        .ok_or_else(|| failed()(std::io::ErrorKind::NotFound.into()))
}

/// Waits until the server of this directory answers a query.
async fn answers(
    directory: &ClusterDirectory,
    postmaster: &mut Postmaster,
    endpoint: &SocketEndpoint,
    log_start: u64,
    deadline: Instant,
) -> Result<(), Error> {
    let data = directory.layout().data();
    loop {
        let mut reason = match data_directory(endpoint).await {
            Ok(served) if Path::new(&served) == data => return Ok(()),
            Ok(served) => format!("the socket leads to a server of {served}"),
            Err(error) => error.to_string(),
        };
        let ended = postmaster.ended();
        if ended.is_some() || Instant::now() >= deadline {
            if let Some(how) = ended {
                reason = how;
            }
            let log = directory.layout().log();
            let tail = read_from(&log, log_start);
            let lines: Vec<&str> = tail.lines().collect();
            let tail = lines
                .get(lines.len().saturating_sub(15)..)
                .unwrap_or_default()
                .join("\n");
            return Err(Error::NotReady { reason, log, tail });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn data_directory(endpoint: &SocketEndpoint) -> Result<String, tokio_postgres::Error> {
    let client = endpoint.connect("postgres", "postgres").await?;
    client
        .query_one("select pg_catalog.current_setting('data_directory')", &[])
        .await?
        .try_get(0)
}

/// The port of last time if it is free, else one that is.
fn choose_port(wanted: Option<u16>) -> Result<u16, Error> {
    let bind = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port));
    if let Some(port) = wanted
        && bind(port).is_ok()
    {
        return Ok(port);
    }
    bind(0)
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("finding a free port on 127.0.0.1"))
}

fn read_from(log: &Path, start: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = std::fs::File::open(log)
        && file.seek(SeekFrom::Start(start)).is_ok()
    {
        // What could be read is still worth showing.
        let _ = file.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
