//! Where subscribers come.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::offer::{Offer, Offers};
use super::{Ended, HANDSHAKE, keys, subscriber};
use crate::feed::Feed;
use crate::metrics;

/// Processes that may follow through one relay.
const SUBSCRIBERS: usize = 256;
/// Connections that have not said yet who they are.
const STRANGERS: usize = 64;
/// After an accept that failed: usually there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener of a process. What there is to be heard is offered as long as this process reads it.
#[derive(Debug)]
pub struct Relay {
    /// Until it is served.
    listener: Mutex<Option<TcpListener>>,
    address: String,
    offers: Arc<Offers>,
    /// Of the feed of each database.
    names: Mutex<HashMap<Arc<str>, String>>,
}

/// The relay can't be there.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The address is taken, or none of this machine.
    #[error("can't listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// Nobody could be told where it is.
    #[error(
        "{0} is no address that other processes could connect to; say which one is, with replication.relay_address"
    )]
    Nowhere(SocketAddr),
    /// No key.
    #[error("no key for TLS")]
    Key(#[from] rustls::Error),
}

impl Relay {
    /// Listens on `listen`; others come to `address` (a host and a port), if that is another one.
    pub async fn bind(listen: SocketAddr, address: Option<&str>) -> Result<Arc<Self>, RelayError> {
        if address.is_none() && listen.ip().is_unspecified() {
            return Err(RelayError::Nowhere(listen));
        }
        let failed = |error| RelayError::Bind(listen, error);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok(Arc::new(Self {
            listener: Mutex::new(Some(listener)),
            address: address.map_or_else(|| bound.to_string(), ToOwned::to_owned),
            offers: Arc::default(),
            names: Mutex::default(),
        }))
    }

    /// Where others come.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets others hear a stream from now on.
    pub(crate) fn offer(&self, database: &Arc<str>, feed: &Feed) -> Result<Offer, RelayError> {
        let name = {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(name) = names.get(database) {
                name.clone()
            } else {
                let name = keys::hex(&keys::random()?[..16]);
                names.insert(Arc::clone(database), name.clone());
                name
            }
        };
        Ok(self.offers.add(database, feed, &self.address, name)?)
    }

    /// Serves those who come, until `stop`.
    pub async fn serve(self: Arc<Self>, stop: CancellationToken) {
        self.serve_at_most(SUBSCRIBERS, stop).await;
    }

    /// The same for so many at a time.
    pub(super) async fn serve_at_most(self: Arc<Self>, most: usize, stop: CancellationToken) {
        let listener = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(listener) = listener else { return };
        let offers = Arc::clone(&self.offers);
        let acceptor = match keys::server(offers) {
            Ok(config) => TlsAcceptor::from(Arc::new(config)),
            Err(error) => {
                tracing::error!(%error, "change_relay_without_tls");
                return;
            }
        };
        let strangers = Arc::new(Semaphore::new(STRANGERS));
        let subscribers = Arc::new(Semaphore::new(most));
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = tasks.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "change_relay_accept_failed");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else {
                metrics::relay_refused("strangers");
                continue;
            };
            let (relay, acceptor) = (Arc::clone(&self), acceptor.clone());
            let subscribers = Arc::clone(&subscribers);
            tasks.spawn(async move {
                let greeted = timeout(HANDSHAKE, relay.greet(stream, &acceptor));
                let greeted = match greeted.await {
                    Ok(greeted) => greeted,
                    Err(_) => Err(Ended::Silent),
                };
                drop(stranger);
                let ended = match greeted {
                    Ok(known) => known.serve(&subscribers).await,
                    Err(error) => {
                        metrics::relay_refused("handshake");
                        error
                    }
                };
                tracing::debug!(%peer, reason = %ended, "change_relay_subscriber_ended");
            });
        }
        tasks.shutdown().await;
    }

    /// Agrees on TLS with the key of what is asked for, and hears who it is.
    async fn greet(
        &self,
        stream: TcpStream,
        acceptor: &TlsAcceptor,
    ) -> Result<subscriber::Known, Ended> {
        stream.set_nodelay(true)?;
        let stream = acceptor.accept(stream).await?;
        let name = stream.get_ref().1.server_name();
        let offered = name.and_then(|name| self.offers.find(name));
        subscriber::greet(stream, offered.ok_or(Ended::Withdrawn)?).await
    }
}
