//! Where databases are, and how they are reached.

use std::net::IpAddr;

use anyhow::Context as _;
use rolegate_pg::wire::{Address, ChannelBinding, Endpoint, TlsMode};

use super::tree;

pub(super) fn channel_binding(binding: tree::ChannelBinding) -> ChannelBinding {
    match binding {
        tree::ChannelBinding::Require => ChannelBinding::Require,
        tree::ChannelBinding::Prefer => ChannelBinding::Prefer,
    }
}

/// Parses a database URL. User and password are refused: they would be used by nobody.
pub(super) fn endpoint(
    url: &str,
    tls: Option<bool>,
    binding: ChannelBinding,
) -> anyhow::Result<Endpoint> {
    let config: tokio_postgres::Config = url.parse()?;
    if config.get_user().is_some() || config.get_password().is_some() {
        anyhow::bail!(
            "user and password don't belong into the URL: every surface has its own login, \
             and passwords come from password_files"
        );
    }
    endpoint_of(&config, tls, binding)
}

/// Where a parsed URL leads, whoever logs in there.
pub(crate) fn endpoint_of(
    config: &tokio_postgres::Config,
    tls: Option<bool>,
    binding: ChannelBinding,
) -> anyhow::Result<Endpoint> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config
        .get_dbname()
        .context("the URL names no database")?
        .to_owned();
    let (address, local) = match config.get_hosts() {
        [tokio_postgres::config::Host::Unix(directory)] => (
            Address::Unix {
                directory: directory.clone(),
                port,
            },
            true,
        ),
        [tokio_postgres::config::Host::Tcp(host)] => (
            Address::Tcp {
                host: host.clone(),
                port,
            },
            is_loopback(host),
        ),
        [] => anyhow::bail!("the URL names no host"),
        _ => anyhow::bail!("the URL names several hosts"),
    };
    if tls == Some(false) && !local {
        anyhow::bail!("without TLS the database must be on loopback or a Unix socket");
    }
    let tls = if tls.unwrap_or(!local) {
        TlsMode::VerifyFull(binding)
    } else {
        TlsMode::Disable
    };
    Ok(Endpoint {
        address,
        tls,
        database,
    })
}

/// Where passwords are checked: host, port, TLS.
pub(crate) fn password_target(
    login: &tree::PasswordLogin,
) -> anyhow::Result<Option<(String, u16, TlsMode)>> {
    let Some(address) = &login.address else {
        return Ok(None);
    };
    let (host, port) = address.rsplit_once(':').context("expected HOST:PORT")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = is_loopback(host);
    if !local && login.tls == Some(false) {
        anyhow::bail!("passwords are checked over TLS unless the server is on loopback");
    }
    let tls = if login.tls.unwrap_or(!local) {
        TlsMode::VerifyFull(channel_binding(login.channel_binding))
    } else {
        TlsMode::Disable
    };
    Ok(Some((host.to_owned(), port.parse().context("port")?, tls)))
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
