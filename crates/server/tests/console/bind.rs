//! Where the console listens.

use std::net::SocketAddr;

use rolegate_server::console::{BindError, ConsoleConfig, bind};

async fn try_bind(address: &str, allow_public_bind: bool) -> Result<SocketAddr, BindError> {
    let config = ConsoleConfig {
        bind: address.parse().expect("an address"),
        allow_public_bind,
    };
    bind(config).await.map(|listener| listener.address())
}

#[tokio::test]
async fn beyond_loopback_only_when_a_flag_says_so() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:127.0.0.1]:0"] {
        let error = try_bind(address, false).await.expect_err(address);
        assert!(matches!(error, BindError::Public(_)), "{address}: {error}");
        assert!(error.to_string().contains("console.allow_public_bind"));
    }
    for (address, allowed) in [
        ("127.0.0.1:0", false),
        ("127.3.2.1:0", false),
        ("0.0.0.0:0", true),
    ] {
        let bound = try_bind(address, allowed).await.expect(address);
        assert_ne!(bound.port(), 0);
    }
}
