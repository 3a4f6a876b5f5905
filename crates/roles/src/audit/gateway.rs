//! What the gateway's configuration says, as far as the audit judges it.

/// The part of a gateway's configuration that the audit looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateway {
    /// The issuers whose tokens it accepts.
    pub issuers: Vec<Issuer>,
    /// Where it checks passwords; `None`: nowhere.
    pub password_check: Option<PasswordCheck>,
}

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name in the configuration.
    pub name: String,
    /// The file or the variables it comes from.
    pub source: String,
    /// Its tokens are accepted whoever they were meant for.
    pub any_audience: bool,
}

/// The server that checks passwords, always over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordCheck {
    /// Host name or IP address.
    pub host: String,
    /// Whether the connection has TLS.
    pub tls: bool,
}

impl PasswordCheck {
    /// The addresses the server can see for this client; empty if it is on another machine.
    pub(super) fn loopback(&self) -> Vec<String> {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(address) if address.is_loopback() => vec![address.to_string()],
            Err(_) if self.host == "localhost" => vec!["127.0.0.1".to_owned(), "::1".to_owned()],
            _ => Vec::new(),
        }
    }
}
