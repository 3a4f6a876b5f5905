//! SCRAM, and what it is bound to: the one place that decides how a password is proved.
//!
//! Over TLS only `SCRAM-SHA-256-PLUS` counts, unless the configuration says otherwise. The unbound
//! exchange would work too, but whoever holds another certificate for the server's name could pass
//! it on, and a server that does not offer the bound one cannot be told from such a man in the
//! middle. PostgreSQL offers it over every TLS connection. Without TLS there is nothing to bind to:
//! Unix sockets and loopback.

use std::{fmt, io};

use postgres_protocol::authentication::sasl::{
    ChannelBinding as Header, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use secrecy::{ExposeSecret, SecretString};

use super::address::ChannelBinding;
use super::startup::{AuthenticationKind, ConnectError};

/// What there is to bind to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Channel {
    /// No TLS.
    Plain,
    /// TLS, with the digest of the server's certificate (`tls-server-end-point`); `None` if the
    /// signature of the certificate has no hash of its own.
    Tls(Option<Vec<u8>>),
}

/// An exchange that has begun.
pub(super) struct Exchange {
    mechanism: &'static str,
    state: ScramSha256,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange")
    }
}

impl Exchange {
    /// Chooses among the mechanisms that the server offers; the exchange has its first message to
    /// send.
    pub(super) fn begin(
        offered: &[String],
        channel: Channel,
        binding: ChannelBinding,
        password: &SecretString,
    ) -> Result<Self, ConnectError> {
        let has = |name: &str| offered.iter().any(|mechanism| mechanism == name);
        let (mechanism, header) = match (channel, binding) {
            (Channel::Tls(Some(digest)), _) if has(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, Header::tls_server_end_point(digest))
            }
            (Channel::Tls(None), ChannelBinding::Require) if has(SCRAM_SHA_256_PLUS) => {
                return Err(ConnectError::ChannelBinding(
                    "the signature of the server's certificate has no hash to bind to",
                ));
            }
            (Channel::Tls(_), ChannelBinding::Require) => {
                return Err(ConnectError::ChannelBinding(
                    "the server does not offer SCRAM-SHA-256-PLUS",
                ));
            }
            _ if !has(SCRAM_SHA_256) => {
                return Err(ConnectError::UnsupportedAuthentication(
                    "another SASL mechanism",
                ));
            }
            // Says that we could have: a server that does offer it, and whose offer somebody took
            // out on the way, refuses this.
            (Channel::Tls(Some(_)), ChannelBinding::Prefer) => {
                (SCRAM_SHA_256, Header::unrequested())
            }
            (Channel::Tls(None), ChannelBinding::Prefer) | (Channel::Plain, _) => {
                (SCRAM_SHA_256, Header::unsupported())
            }
        };
        let state = ScramSha256::new(password.expose_secret().as_bytes(), header);
        Ok(Self { mechanism, state })
    }

    /// The name of the mechanism.
    pub(super) fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// What the exchange proves when it is over.
    pub(super) fn kind(&self) -> AuthenticationKind {
        if self.mechanism == SCRAM_SHA_256_PLUS {
            AuthenticationKind::BoundScram
        } else {
            AuthenticationKind::Scram
        }
    }

    /// What is to be sent next.
    pub(super) fn message(&self) -> &[u8] {
        self.state.message()
    }

    /// The server's challenge. The library bounds the iterations, which are computed here.
    pub(super) fn challenge(&mut self, message: &[u8]) -> Result<(), ConnectError> {
        self.state.update(message).map_err(failed)
    }

    /// The server's own proof that it knows the password.
    pub(super) fn finish(mut self, message: &[u8]) -> Result<(), ConnectError> {
        self.state.finish(message).map_err(failed)
    }
}

fn failed(error: io::Error) -> ConnectError {
    ConnectError::Scram(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begin(offered: &[&str], channel: Channel) -> Result<Exchange, ConnectError> {
        begin_with(offered, channel, ChannelBinding::Require)
    }

    fn begin_with(
        offered: &[&str],
        channel: Channel,
        binding: ChannelBinding,
    ) -> Result<Exchange, ConnectError> {
        let offered: Vec<_> = offered.iter().map(ToString::to_string).collect();
        Exchange::begin(&offered, channel, binding, &"secret".to_owned().into())
    }

    const BOTH: [&str; 2] = [SCRAM_SHA_256_PLUS, SCRAM_SHA_256];

    #[test]
    fn over_tls_only_the_bound_exchange_counts() {
        let tls = || Channel::Tls(Some(vec![7; 32]));
        let exchange = begin(&BOTH, tls()).expect("offered");
        assert_eq!(exchange.mechanism(), SCRAM_SHA_256_PLUS);
        assert!(
            exchange
                .message()
                .starts_with(b"p=tls-server-end-point,,n=,r=")
        );
        for (offered, channel) in [
            (&[SCRAM_SHA_256][..], tls()),
            (&[], tls()),
            (&["OAUTHBEARER"], tls()),
            (&BOTH, Channel::Tls(None)),
            (&[SCRAM_SHA_256], Channel::Tls(None)),
        ] {
            assert!(matches!(
                begin(offered, channel),
                Err(ConnectError::ChannelBinding(_))
            ));
        }
    }

    /// What is sent first tells the server what we could have done: `p` is bound, `y` could be,
    /// `n` could not.
    #[test]
    fn where_it_is_only_preferred_what_is_offered_is_taken() {
        let tls = || Channel::Tls(Some(vec![7; 32]));
        for (offered, channel, kind, first) in [
            (
                &BOTH[..],
                tls(),
                AuthenticationKind::BoundScram,
                "p=tls-server-end-point,,",
            ),
            (&[SCRAM_SHA_256], tls(), AuthenticationKind::Scram, "y,,"),
            (&BOTH, Channel::Tls(None), AuthenticationKind::Scram, "n,,"),
            (&BOTH, Channel::Plain, AuthenticationKind::Scram, "n,,"),
        ] {
            let exchange = begin_with(offered, channel, ChannelBinding::Prefer).expect("offered");
            assert_eq!(exchange.kind(), kind, "{offered:?}");
            let sent = String::from_utf8_lossy(exchange.message()).into_owned();
            assert!(sent.starts_with(first), "{offered:?}: {sent}");
        }
        for offered in [&[][..], &["OAUTHBEARER"]] {
            assert!(matches!(
                begin_with(offered, tls(), ChannelBinding::Prefer),
                Err(ConnectError::UnsupportedAuthentication(_))
            ));
        }
    }

    #[test]
    fn without_tls_there_is_nothing_to_bind_to() {
        let exchange = begin(&BOTH, Channel::Plain).expect("offered");
        assert_eq!(exchange.mechanism(), SCRAM_SHA_256);
        assert!(exchange.message().starts_with(b"n,,n=,r="));
        assert!(matches!(
            begin(&[SCRAM_SHA_256_PLUS], Channel::Plain),
            Err(ConnectError::UnsupportedAuthentication(_))
        ));
    }

    proptest! {
        /// Whatever the server says, and however it begins: no panic, and no login.
        #[test]
        fn no_text_of_the_server_is_a_proof(
            nonce in ".{0,20}", rest in ".{0,60}", last in ".{0,60}", prefix in any::<bool>(),
        ) {
            let mut exchange = begin(&BOTH, Channel::Plain).expect("offered");
            let ours = String::from_utf8_lossy(&exchange.message()[8..]).into_owned();
            let challenge = if prefix {
                format!("r={ours}{nonce},s=c2FsdA==,i=16{rest}")
            } else {
                format!("{nonce}{rest}")
            };
            if exchange.challenge(challenge.as_bytes()).is_ok() {
                prop_assert!(exchange.finish(last.as_bytes()).is_err());
            }
        }
    }

    #[test]
    fn a_server_cannot_make_us_count_for_hours() {
        let mut exchange = begin(&BOTH, Channel::Plain).expect("offered");
        let nonce = String::from_utf8_lossy(&exchange.message()[8..]).into_owned();
        let challenge = format!("r={nonce}x,s=c2FsdA==,i=4294967295");
        assert!(matches!(
            exchange.challenge(challenge.as_bytes()),
            Err(ConnectError::Scram(_))
        ));
    }
}
