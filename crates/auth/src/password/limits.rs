//! How often one may try: per client address, per login, and altogether.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use rolegate_model::Clock;

/// Keys of one limiter. Addresses and logins are hashed into that many buckets, with a random
/// key: memory is bounded whatever is tried, nobody is locked out when it is full, and nobody can
/// choose whose bucket to share.
const BUCKETS: u64 = 1 << 16;

/// A rate: so many at once, and so many per minute afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRate {
    /// At once.
    pub burst: NonZeroU32,
    /// Per minute.
    pub per_minute: NonZeroU32,
}

impl LoginRate {
    const fn new(burst: u32, per_minute: u32) -> Self {
        match (NonZeroU32::new(burst), NonZeroU32::new(per_minute)) {
            (Some(burst), Some(per_minute)) => Self { burst, per_minute },
            _ => Self {
                burst: NonZeroU32::MIN,
                per_minute: NonZeroU32::MIN,
            },
        }
    }
}

/// Limits of password logins.
#[derive(Debug, Clone, Copy)]
pub struct LoginLimits {
    /// Connections to the server at the same time.
    pub connections: usize,
    /// How long one login may take, waiting for a connection included.
    pub deadline: Duration,
    /// Attempts from one address (IPv6: one /64).
    pub per_address: LoginRate,
    /// Attempts with one login, from wherever. Somebody with many addresses can use it up and so
    /// keep its owner from logging in for a while; tokens keep working.
    pub per_login: LoginRate,
    /// Attempts altogether.
    pub global: LoginRate,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            connections: 4,
            deadline: Duration::from_secs(5),
            per_address: LoginRate::new(20, 20),
            per_login: LoginRate::new(10, 10),
            global: LoginRate::new(50, 600),
        }
    }
}

/// Which limit an attempt ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// That of the client's address.
    Address,
    /// That of the login.
    Login,
    /// That of all logins.
    Global,
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "the address",
            Self::Login => "the login",
            Self::Global => "all logins",
        })
    }
}

/// Our clock, for `governor`: the time since 1970.
#[derive(Debug, Clone)]
struct SinceEpoch(Arc<dyn Clock>);

impl GovernorClock for SinceEpoch {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::try_from(self.0.now().as_duration()).unwrap_or_default()
    }
}

type Buckets = RateLimiter<u64, HashMapStateStore<u64>, SinceEpoch, NoOpMiddleware<Duration>>;

/// All three limits.
pub(super) struct Limiter {
    per_address: Buckets,
    per_login: Buckets,
    global: Buckets,
    random: RandomState,
    clock: SinceEpoch,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

impl Limiter {
    pub(super) fn new(limits: LoginLimits, clock: Arc<dyn Clock>) -> Self {
        let clock = SinceEpoch(clock);
        let buckets = |rate: LoginRate| {
            let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst);
            RateLimiter::new(quota, HashMapStateStore::default(), clock.clone())
        };
        Self {
            per_address: buckets(limits.per_address),
            per_login: buckets(limits.per_login),
            global: buckets(limits.global),
            random: RandomState::new(),
            clock,
        }
    }

    /// Counts an attempt, or says which limit it ran into and for how long. The narrowest limit
    /// comes first, so that one address cannot use up what is there for everybody.
    pub(super) fn check(&self, peer: IpAddr, login: &str) -> Result<(), (Throttle, Duration)> {
        let check = |buckets: &Buckets, key: u64, by| {
            let wait = |until: governor::NotUntil<Duration>| {
                (
                    by,
                    until
                        .wait_time_from(self.clock.now())
                        .max(Duration::from_secs(1)),
                )
            };
            buckets.check_key(&key).map_err(wait)
        };
        check(
            &self.per_address,
            self.bucket(network(peer)),
            Throttle::Address,
        )?;
        check(&self.per_login, self.bucket(login), Throttle::Login)?;
        check(&self.global, 0, Throttle::Global)
    }

    fn bucket(&self, key: impl Hash) -> u64 {
        self.random.hash_one(key) % BUCKETS
    }
}

/// What counts as one client: an IPv4 address, or the /64 that one customer has.
fn network(peer: IpAddr) -> [u8; 8] {
    match peer.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            // 0.0.0.0/8 of IPv6's numbering is unused: no /64 looks like this.
            [0, 0, 0, 4, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let mut network = [0; 8];
            network.copy_from_slice(&address.octets()[..8]);
            network
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rolegate_model::FixedClock;

    use super::*;

    fn setup() -> (Arc<FixedClock>, Limiter) {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let clock = Arc::new(FixedClock::new(now));
        let limits = LoginLimits {
            per_address: LoginRate::new(3, 6),
            per_login: LoginRate::new(5, 6),
            global: LoginRate::new(8, 60),
            ..LoginLimits::default()
        };
        (Arc::clone(&clock), Limiter::new(limits, clock))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_limited_and_recovers() {
        let (clock, limiter) = setup();
        let peer = ip("192.0.2.1");
        for login in ["a", "b", "c"] {
            assert_eq!(limiter.check(peer, login), Ok(()));
        }
        let wait = Duration::from_secs(10);
        assert_eq!(limiter.check(peer, "d"), Err((Throttle::Address, wait)));
        assert_eq!(
            limiter.check(ip("::ffff:192.0.2.1"), "d"),
            Err((Throttle::Address, wait))
        );
        assert_eq!(limiter.check(ip("192.0.2.2"), "d"), Ok(()));
        clock.advance(9);
        let wait = Duration::from_secs(1);
        assert_eq!(limiter.check(peer, "d"), Err((Throttle::Address, wait)));
        clock.advance(1);
        assert_eq!(limiter.check(peer, "d"), Ok(()));
    }

    #[test]
    fn ipv6_counts_by_network() {
        let (_, limiter) = setup();
        for host in 1..=3 {
            assert_eq!(
                limiter.check(ip(&format!("2001:db8::{host}")), &host.to_string()),
                Ok(())
            );
        }
        let refused = limiter
            .check(ip("2001:db8::4"), "4")
            .expect_err("the same /64");
        assert_eq!(refused.0, Throttle::Address);
        assert_eq!(limiter.check(ip("2001:db8:0:1::1"), "4"), Ok(()));
    }

    #[test]
    fn a_login_is_limited_from_many_addresses() {
        let (_, limiter) = setup();
        for host in 1..=5 {
            assert_eq!(
                limiter.check(ip(&format!("192.0.2.{host}")), "alice"),
                Ok(())
            );
        }
        let refused = limiter
            .check(ip("192.0.2.6"), "alice")
            .expect_err("the same login");
        assert_eq!(refused.0, Throttle::Login);
    }

    #[test]
    fn all_logins_together_are_limited() {
        let (clock, limiter) = setup();
        let attempt = |n: u32| limiter.check(ip(&format!("192.0.2.{n}")), &format!("user{n}"));
        for n in 1..=8 {
            assert_eq!(attempt(n), Ok(()));
        }
        assert_eq!(attempt(9), Err((Throttle::Global, Duration::from_secs(1))));
        clock.advance(1);
        assert_eq!(attempt(10), Ok(()));
    }

    #[test]
    fn memory_is_bounded_by_buckets() {
        let (_, limiter) = setup();
        for n in 0..200_000_u32 {
            let _ = limiter.check(IpAddr::from(n.to_be_bytes()), &n.to_string());
        }
        assert!(limiter.per_address.len() <= 1 << 16);
        assert!(limiter.per_login.len() <= 1 << 16);
    }
}
