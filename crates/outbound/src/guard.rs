//! Which addresses a request may go to: those of the public internet, and networks that the
//! operator names. Everything else is ours, or looks like it.

mod ranges;

use std::net::IpAddr;

use ipnet::IpNet;

/// Decides about addresses.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
}

/// What the guard says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of the public internet.
    Public,
    /// In a network that the operator allowed.
    Allowed,
    /// Neither; what it is instead.
    Refused(&'static str),
}

/// Why a network can't be allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// It is not one.
    #[error("`{0}` is no network; write 10.1.0.0/16, fd00::/8, or one address")]
    Malformed(String),
    /// It is all of them.
    #[error("`{0}` allows every address; name the networks that functions are in")]
    Everything(String),
}

impl Guard {
    /// Allows these networks beside the public internet: `10.1.0.0/16`, `fd00::/8`, one address.
    pub fn new<'a>(allowed: impl IntoIterator<Item = &'a str>) -> Result<Self, GuardError> {
        let allowed = allowed.into_iter().map(network).collect::<Result<_, _>>()?;
        Ok(Self { allowed })
    }

    /// What is to be said about an address.
    pub fn judge(&self, address: IpAddr) -> Verdict {
        let reached = ranges::reached(address);
        // A multicast or unspecified address is no host, whatever network it is in.
        if let Some(what) = ranges::no_host(reached) {
            return Verdict::Refused(what);
        }
        let is_in = |network: &IpNet| network.contains(&address) || network.contains(&reached);
        if self.allowed.iter().any(is_in) {
            return Verdict::Allowed;
        }
        match ranges::special(reached) {
            None => Verdict::Public,
            Some(what) => Verdict::Refused(what),
        }
    }
}

fn network(text: &str) -> Result<IpNet, GuardError> {
    let malformed = || GuardError::Malformed(text.to_owned());
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().map_err(|_| malformed())?,
    };
    if network.prefix_len() == 0 {
        return Err(GuardError::Everything(text.to_owned()));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(guard: &Guard, address: &str) -> Verdict {
        guard.judge(address.parse().expect(address))
    }

    #[test]
    fn addresses_of_our_own_are_refused() {
        let guard = Guard::default();
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            // Compatible, mapped, translated.
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "64:ff9b:1::8.8.8.8",
            // Tunnels to them.
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:c0a8:101::",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            // Local, multicast, for other purposes.
            "fc00::1",
            "fdff:ffff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "4000::1",
        ] {
            let verdict = judged(&guard, address);
            assert!(
                matches!(verdict, Verdict::Refused(_)),
                "{address}: {verdict:?}"
            );
        }
    }

    #[test]
    fn addresses_of_the_internet_are_not() {
        let guard = Guard::default();
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.169.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(judged(&guard, address), Verdict::Public, "{address}");
        }
    }

    #[test]
    fn a_network_is_allowed_in_whatever_notation_it_is_reached() {
        let guard = Guard::new(["10.1.0.0/16", "127.0.0.1", "fd00::/8"]).expect("networks");
        for address in [
            "10.1.255.255",
            "127.0.0.1",
            "::ffff:10.1.0.1",
            "64:ff9b::10.1.0.1",
            "fd12::1",
        ] {
            assert_eq!(judged(&guard, address), Verdict::Allowed, "{address}");
        }
        for address in ["10.2.0.1", "127.0.0.2", "::1", "fc00::1", "169.254.169.254"] {
            let verdict = judged(&guard, address);
            assert!(matches!(verdict, Verdict::Refused(_)), "{address}");
        }
        assert_eq!(judged(&guard, "8.8.8.8"), Verdict::Public);
    }

    #[test]
    fn what_is_no_host_is_not_allowed_by_a_network_either() {
        let guard =
            Guard::new(["0.0.0.0/1", "224.0.0.0/4", "ff00::/8", "::/16"]).expect("networks");
        for address in ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1"] {
            let verdict = judged(&guard, address);
            assert!(matches!(verdict, Verdict::Refused(_)), "{address}");
        }
        assert_eq!(judged(&guard, "127.0.0.1"), Verdict::Allowed);
    }

    #[test]
    fn what_is_no_network_is_refused_and_so_is_everything() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "localhost",
            "10.0.0.0 /8",
            "*",
        ] {
            let refused = Guard::new([text]).expect_err(text);
            assert_eq!(refused, GuardError::Malformed(text.to_owned()));
        }
        for text in ["0.0.0.0/0", "::/0"] {
            let refused = Guard::new([text]).expect_err(text);
            assert_eq!(refused, GuardError::Everything(text.to_owned()));
        }
    }
}
