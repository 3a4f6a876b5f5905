//! The cluster's Unix socket, and connecting to it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use crate::wire::Address;

/// Where the cluster listens for `peer` logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketEndpoint {
    directory: PathBuf,
    port: u16,
}

impl SocketEndpoint {
    /// The socket `.s.PGSQL.PORT` in `directory`.
    pub fn new(directory: PathBuf, port: u16) -> Self {
        Self { directory, port }
    }

    /// The directory of the socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The port in the socket's name, which is also the TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same as an address of the wire client.
    pub fn address(&self) -> Address {
        Address::Unix {
            directory: self.directory.clone(),
            port: self.port,
        }
    }

    /// How `role` connects to `database` with `tokio-postgres`.
    pub fn config(&self, role: &str, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.directory)
            .port(self.port)
            .user(role)
            .dbname(database)
            .connect_timeout(Duration::from_secs(10));
        config
    }

    /// Connects. The task that drives the connection ends when the client is dropped.
    pub async fn connect(
        &self,
        role: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config(role, database).connect(NoTls).await?;
        // Its error reaches whoever uses the client.
        tokio::spawn(connection);
        Ok(client)
    }

    /// The same as a URL, for `psql` and every other client.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!(
            "postgresql://{}@/{}?host={}&port={}",
            percent_encoded(role.as_bytes()),
            percent_encoded(database.as_bytes()),
            percent_encoded(self.directory.as_os_str().as_encoded_bytes()),
            self.port
        )
    }
}

fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_says_the_same_as_the_configuration() {
        let endpoint = SocketEndpoint::new("/run/a b".into(), 5433);
        let url = endpoint.url("o'brien@x", "app/1");
        assert_eq!(
            url,
            "postgresql://o%27brien%40x@/app%2F1?host=%2Frun%2Fa%20b&port=5433"
        );
        let parsed: Config = url.parse().expect("tokio-postgres reads URLs of libpq");
        let config = endpoint.config("o'brien@x", "app/1");
        assert_eq!(parsed.get_hosts(), config.get_hosts());
        assert_eq!(parsed.get_ports(), config.get_ports());
        assert_eq!(parsed.get_user(), config.get_user());
        assert_eq!(parsed.get_dbname(), config.get_dbname());
    }
}
