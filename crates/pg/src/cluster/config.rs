//! `postgresql.conf` of a private cluster.

use std::path::Path;

use super::directory::Layout;
use super::endpoint::SocketEndpoint;
use super::hba;

/// What a caller may choose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) max_connections: u16,
    pub(super) durable: bool,
}

pub(super) fn render(layout: &Layout, endpoint: &SocketEndpoint, settings: Settings) -> String {
    let mut text = format!(
        "\
# Written at every start; changes made here are lost.
hba_file = {hba}
ident_file = {ident}
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = {sockets}
# The peer check decides; nobody else has business at this socket.
unix_socket_permissions = 0700
max_connections = {max_connections}
password_encryption = 'scram-sha-256'
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
# A change stream that nobody reads any more is lost before the disk is full.
max_slot_wal_keep_size = '1GB'
max_prepared_transactions = 20
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
cluster_name = 'rolegate'
",
        hba = path_value(&layout.config("pg_hba.conf")),
        ident = path_value(&layout.config("pg_ident.conf")),
        port = endpoint.port(),
        sockets = value(&list_item(&endpoint.directory().to_string_lossy())),
        max_connections = settings.max_connections,
    );
    if !settings.durable {
        // `synchronous_commit` stays on: without it a killed server loses its last commits, and
        // without fsync it costs next to nothing.
        text.push_str("fsync = off\nfull_page_writes = off\n");
    }
    text.push_str(&hba::include_line());
    text
}

fn path_value(path: &Path) -> String {
    value(&path.to_string_lossy())
}

/// A value of the configuration file. Inside quotes both the quote and the backslash are special.
fn value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// One item of a comma-separated list.
fn list_item(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_path_cannot_end_its_value() {
        assert_eq!(value("/a'b\\c"), "'/a''b\\\\c'");
        let layout = Layout::new(Path::new("/x"));
        let endpoint = SocketEndpoint::new("/a, b'\n".into(), 1);
        let settings = Settings {
            max_connections: 10,
            durable: true,
        };
        let text = render(&layout, &endpoint, settings);
        assert!(
            text.contains("unix_socket_directories = '\"/a, b''\n\"'"),
            "{text}"
        );
    }
}
