//! Addresses that ask for ids nobody gave out are not listened to for a while.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Unknown ids from one address (IPv6: one /64) in a minute.
pub(super) const PER_MINUTE: u32 = 60;

/// Addresses are hashed into that many buckets, with a random key: memory is bounded whatever comes.
const BUCKETS: u64 = 4096;

/// How many each bucket had in the present minute.
pub(super) struct UnknownIds {
    random: RandomState,
    buckets: Mutex<Vec<(u64, u32)>>,
}

impl Default for UnknownIds {
    fn default() -> Self {
        let buckets = usize::try_from(BUCKETS).unwrap_or_default();
        Self {
            random: RandomState::new(),
            buckets: Mutex::new(vec![(0, 0); buckets]),
        }
    }
}

impl UnknownIds {
    /// Another unknown id. `now` is in seconds.
    pub(super) fn note(&self, address: Option<IpAddr>, now: u64) {
        self.with(address, |bucket| {
            if bucket.0 != now / 60 {
                *bucket = (now / 60, 0);
            }
            bucket.1 = bucket.1.saturating_add(1);
        });
    }

    /// How long the address has to wait, if it asked for too many.
    pub(super) fn wait(&self, address: Option<IpAddr>, now: u64) -> Option<Duration> {
        let (minute, count) = self.with(address, |bucket| *bucket)?;
        (minute == now / 60 && count >= PER_MINUTE).then(|| Duration::from_secs(60 - now % 60))
    }

    fn with<T>(&self, address: Option<IpAddr>, f: impl FnOnce(&mut (u64, u32)) -> T) -> Option<T> {
        let address = match address? {
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => IpAddr::V4(address),
                None => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            },
            address @ IpAddr::V4(_) => address,
        };
        let nth = usize::try_from(self.random.hash_one(address) % BUCKETS).ok()?;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get_mut(nth).map(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_for_the_next_minute() {
        let unknown = UnknownIds::default();
        let one: Option<IpAddr> = Some("2001:db8::1".parse().expect("an address"));
        let neighbour: Option<IpAddr> = Some("2001:db8::2".parse().expect("an address"));
        for _ in 0..PER_MINUTE {
            assert_eq!(unknown.wait(one, 61), None);
            unknown.note(one, 61);
        }
        assert_eq!(unknown.wait(one, 110), Some(Duration::from_secs(10)));
        assert_eq!(unknown.wait(neighbour, 110), Some(Duration::from_secs(10)));
        assert_eq!(unknown.wait(one, 120), None);
        assert_eq!(unknown.wait(None, 110), None);
    }
}
