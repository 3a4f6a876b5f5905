//! A login with a role's own password, checked by PostgreSQL.
//!
//! The check counts only if the server completed a SCRAM exchange: a server that lets everybody
//! in (`trust`, `peer`, a certificate) accepts any password, and one that asks for the password
//! in another way learns it. Login and password of the request are fields of protocol messages
//! and nothing else; where the server is was decided by the configuration.

mod exchange;
mod limits;
mod target;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rolegate_model::{Clock, ErrorCode, RoleName, RoleNameError};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub use exchange::ExchangeError;
use limits::Limiter;
pub use limits::{LoginLimits, LoginRate, Throttle};
pub use target::PasswordTarget;

/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Why a login failed. The client learns only [`Self::code`]: one answer for every failure.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Too many attempts.
    #[error("too many logins: the limit of {by}")]
    Throttled {
        /// Which limit.
        by: Throttle,
        /// When the next attempt may succeed.
        retry_after: Duration,
    },
    /// All connections for logins were busy until the deadline.
    #[error("no connection for the login became free in time")]
    Busy,
    /// The login cannot be a role.
    #[error("the login is not a usable role name")]
    Login(#[source] RoleNameError),
    /// Empty, too long, or with a NUL byte.
    #[error("the password is empty, too long, or contains NUL")]
    Password,
    /// Not over in time.
    #[error("the server did not answer in time")]
    Deadline,
    /// The server said no, or the exchange was not what it has to be.
    #[error("the exchange with the server failed")]
    Exchange(#[from] ExchangeError),
}

impl LoginError {
    /// The code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Throttled { .. } | Self::Busy => ErrorCode::LoginThrottled,
            _ => ErrorCode::LoginFailed,
        }
    }

    /// After what time the client may try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => Some(*retry_after),
            Self::Busy => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether this says that the server is set up in a way that makes passwords worthless: a
    /// finding for operators.
    pub fn is_finding(&self) -> bool {
        matches!(
            self,
            Self::Exchange(ExchangeError::NotScram(_) | ExchangeError::ChannelBinding(_))
        )
    }
}

/// Checks passwords.
#[derive(Debug)]
pub struct PasswordCheck {
    target: PasswordTarget,
    limiter: Limiter,
    connections: Semaphore,
    deadline: Duration,
}

impl PasswordCheck {
    /// Checks passwords against `target`.
    pub fn new(target: PasswordTarget, limits: LoginLimits, clock: Arc<dyn Clock>) -> Self {
        Self {
            target,
            connections: Semaphore::new(limits.connections.max(1)),
            deadline: limits.deadline,
            limiter: Limiter::new(limits, clock),
        }
    }

    /// Whether `password` is that of the role `login`: the role's name, if so. Whether the role
    /// may be used is another question, see [`crate::refusal::admit_login`].
    ///
    /// `peer` is the address of the client, for the limits.
    pub async fn check(
        &self,
        login: &str,
        password: &SecretString,
        peer: IpAddr,
    ) -> Result<RoleName, LoginError> {
        self.limiter
            .check(peer, login)
            .map_err(|(by, retry_after)| LoginError::Throttled { by, retry_after })?;
        let role = RoleName::new(login).map_err(LoginError::Login)?;
        let text = password.expose_secret();
        if text.is_empty() || text.len() > MAX_PASSWORD_BYTES || text.contains('\0') {
            return Err(LoginError::Password);
        }
        let deadline = Instant::now() + self.deadline;
        let permit = timeout_at(deadline, self.connections.acquire());
        let _permit = permit
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(LoginError::Busy)?;
        let exchange = Box::pin(exchange::check(&self.target, &role, password));
        timeout_at(deadline, exchange)
            .await
            .map_err(|_| LoginError::Deadline)??;
        Ok(role)
    }
}

#[cfg(test)]
mod tests;
