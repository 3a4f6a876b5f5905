//! The server that checks passwords.

use rolegate_pg::wire::Tls;

/// The server that checks passwords: a TCP address of the configuration, never the socket on
/// which the server trusts our operating-system user.
#[derive(Debug, Clone)]
pub struct PasswordTarget {
    /// Host name or IP address; with TLS, the name in the certificate.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The database to log in to.
    pub database: String,
    /// With it the connection is encrypted, the certificate verified, and the exchange bound to
    /// it, unless it says that this is only preferred. Without it the server has to be on the
    /// loopback interface or an equally safe network.
    pub tls: Option<Tls>,
}
