//! What is offered in one term.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::keys::{self, Pin};
use crate::feed::Feed;
use crate::lsn::Lsn;

/// Between two questions that are passed on to the reader, whoever asks: each has something written.
const QUESTION_PAUSE: Duration = Duration::from_millis(5);

/// The stream of a database, for as long as it is followed here. Nobody hears it any more when this is dropped.
pub struct Offer {
    offers: Arc<Offers>,
    name: String,
    pin: Pin,
    address: String,
    offered: Arc<Offered>,
}

/// What those who come need of it.
pub(super) struct Offered {
    pub(super) database: Arc<str>,
    pub(super) feed: Feed,
    /// Names the feed: places in another one mean nothing here.
    pub(super) feed_name: String,
    pub(super) secret: [u8; 32],
    pub(super) withdrawn: CancellationToken,
    asked: Notify,
    /// The furthest position that was asked for.
    wanted: AtomicU64,
    key: Arc<CertifiedKey>,
}

/// Everything that this process offers.
#[derive(Debug, Default)]
pub(super) struct Offers(Mutex<HashMap<String, Arc<Offered>>>);

impl Offers {
    pub(super) fn add(
        self: &Arc<Self>,
        database: &Arc<str>,
        feed: &Feed,
        address: &str,
        feed_name: String,
    ) -> Result<Offer, rustls::Error> {
        let (key, pin) = keys::generate()?;
        let offered = Arc::new(Offered {
            database: Arc::clone(database),
            feed: feed.clone(),
            feed_name,
            secret: keys::random()?,
            withdrawn: CancellationToken::new(),
            asked: Notify::new(),
            wanted: AtomicU64::new(0),
            key,
        });
        let name = keys::name_of(&pin);
        self.all().insert(name.clone(), Arc::clone(&offered));
        Ok(Offer {
            offers: Arc::clone(self),
            name,
            pin,
            address: address.to_owned(),
            offered,
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Offered>> {
        self.all().get(name).cloned()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Offered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Offers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = self.find(hello.server_name()?)?;
        Some(Arc::clone(&offered.key))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

impl Offered {
    /// A subscriber waits for what does not come by itself.
    pub(super) fn ask(&self, lsn: Lsn) {
        if self.feed.passed().is_some_and(|passed| passed < lsn) {
            self.wanted.fetch_max(lsn.0, Ordering::AcqRel);
            self.asked.notify_one();
        }
    }
}

impl Offer {
    /// Where others find it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What they have to know.
    pub fn secret(&self) -> &[u8; 32] {
        &self.offered.secret
    }

    /// SHA-256 of the public key at this end.
    pub fn pin(&self) -> &[u8; 32] {
        &self.pin
    }

    /// Has the reader come to what subscribers wait for, a bounded number of times a second.
    pub(crate) async fn pass_on_questions(&self) -> Infallible {
        loop {
            self.offered.asked.notified().await;
            let wanted = self.offered.wanted.swap(0, Ordering::AcqRel);
            self.offered.feed.ask(Lsn(wanted));
            sleep(QUESTION_PAUSE).await;
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.offers.all().remove(&self.name);
        self.offered.withdrawn.cancel();
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offered")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
