//! While this process reads the stream itself.

use tokio::sync::watch;

use super::Feed;
use super::ring::Relay;

/// As long as this lives nobody else feeds the feed.
#[derive(Debug)]
pub(crate) struct Leading(Feed);

impl Feed {
    /// From now on this process feeds it, and what came through a relay comes no more.
    pub(crate) fn lead(&self) -> Leading {
        self.change(|ring| {
            let source = ring.source();
            source.leads = true;
            source.leaderships += 1;
            source.relay = Relay::None;
        });
        self.0.leads.send_replace(true);
        Leading(self.clone())
    }

    /// Whether this process reads the stream itself.
    pub(crate) fn leads(&self) -> watch::Receiver<bool> {
        self.0.leads.subscribe()
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.change(|ring| ring.source().leads = false);
        self.0.0.leads.send_replace(false);
    }
}
