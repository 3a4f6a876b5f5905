//! Names become addresses that passed the guard. The connection goes to one of those: there is no
//! second question to a name server whose answer could be another.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::guard::{Guard, Verdict};

/// Addresses of a name that are looked at. More are not tried.
const MOST: usize = 16;

/// Knows the addresses of names.
pub trait Lookup: Send + Sync + 'static {
    /// Those of one name, the best first.
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

/// Every address of a name is one that nothing goes to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is at {address}, where nothing goes ({what}); if it is meant, allow its network")]
pub struct AddressRefused {
    /// The name.
    pub name: String,
    /// The first of its addresses.
    pub address: IpAddr,
    /// What is wrong with it.
    pub what: &'static str,
}

/// What the HTTP client asks.
pub(crate) struct Guarded {
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) guard: Arc<Guard>,
    /// Whether what is sent is not encrypted.
    pub(crate) plain: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.lookup.lookup(name.as_str());
        let (guard, plain) = (Arc::clone(&self.guard), self.plain);
        async move {
            let found = found.await?;
            let admitted = admitted(&guard, plain, name.as_str(), &found)?;
            let addresses: Addrs = Box::new(admitted.into_iter());
            Ok(addresses)
        }
        .boxed()
    }
}

fn admitted(
    guard: &Guard,
    plain: bool,
    name: &str,
    found: &[IpAddr],
) -> Result<Vec<SocketAddr>, AddressRefused> {
    let mut refused = None;
    let mut admitted = Vec::new();
    for &address in found.iter().take(MOST) {
        let what = match guard.judge(address) {
            Verdict::Public if plain => Some("public, and it would go in plain text"),
            Verdict::Public | Verdict::Allowed => None,
            Verdict::Refused(what) => Some(what),
        };
        match what {
            // The port is the URL's.
            None => admitted.push(SocketAddr::new(address, 0)),
            Some(what) => {
                refused.get_or_insert(AddressRefused {
                    name: name.to_owned(),
                    address,
                    what,
                });
            }
        }
    }
    match refused {
        Some(refused) if admitted.is_empty() => Err(refused),
        _ => Ok(admitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(plain: bool, found: &[&str]) -> Result<Vec<String>, AddressRefused> {
        let found: Vec<IpAddr> = found.iter().map(|text| text.parse().expect(text)).collect();
        let guard = Guard::new(["10.1.0.0/16"]).expect("a network");
        let admitted = admitted(&guard, plain, "a.example", &found)?;
        Ok(admitted
            .iter()
            .map(|address| address.ip().to_string())
            .collect())
    }

    #[test]
    fn of_several_addresses_the_good_ones_are_tried() {
        let found = ["127.0.0.1", "8.8.8.8", "10.1.0.1", "::1"];
        assert_eq!(of(false, &found).expect("two"), ["8.8.8.8", "10.1.0.1"]);
        assert_eq!(of(true, &found).expect("one"), ["10.1.0.1"]);
    }

    #[test]
    fn a_name_with_none_says_which_and_why() {
        let refused = of(false, &["169.254.169.254", "::1"]).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "a.example is at 169.254.169.254, where nothing goes (link-local); if it is meant, \
             allow its network"
        );
        assert_eq!(
            of(true, &["8.8.8.8"]).expect_err("plain").what,
            "public, and it would go in plain text"
        );
        // Nothing at all is the client's matter.
        assert_eq!(of(false, &[]), Ok(vec![]));
    }
}
