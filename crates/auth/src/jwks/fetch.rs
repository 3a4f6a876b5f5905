//! One request for a key set, with bounds on everything.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Client, Url, redirect};

/// Bounds of one fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the last byte.
    pub total: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            connect: Duration::from_secs(2),
            total: Duration::from_secs(5),
        }
    }
}

/// Why a URL is not used for keys.
#[derive(Debug, thiserror::Error)]
pub enum JwksUrlError {
    /// Not a URL.
    #[error("the JWKS URL is not a URL")]
    Malformed,
    /// Whoever can change what is fetched can sign for anybody.
    #[error("the JWKS URL has to be https, except on the loopback interface")]
    NotHttps,
    /// User name and password end up in logs.
    #[error("the JWKS URL must not contain credentials")]
    Credentials,
    /// The TLS set-up failed.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not reachable, not in time, not TLS as it should be.
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    /// Anything but 200; a redirect too.
    #[error("the answer has status {0}")]
    Status(u16),
    /// More bytes than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// Not a key set.
    #[error("the answer is not a JSON Web Key Set")]
    Json(#[source] serde_json::Error),
    /// Nothing in it can be used.
    #[error("the key set has no usable key")]
    NoUsableKey,
}

/// Fetches one URL.
#[derive(Debug)]
pub(crate) struct Fetcher {
    client: Client,
    url: Url,
    limits: FetchLimits,
}

impl Fetcher {
    pub(crate) fn new(url: &str, limits: FetchLimits) -> Result<Self, JwksUrlError> {
        let url = Url::parse(url).map_err(|_| JwksUrlError::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(JwksUrlError::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(JwksUrlError::Credentials);
        }
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            // The environment is read in one place, and not here.
            .no_proxy()
            .connect_timeout(limits.connect)
            .timeout(limits.total)
            .user_agent(concat!("rolegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(JwksUrlError::Client)?;
        Ok(Self {
            client,
            url,
            limits,
        })
    }

    /// The body.
    pub(crate) async fn get(&self) -> Result<Vec<u8>, FetchError> {
        // The error's URL is the configured one; it stays out because operators may put a
        // tenant's key into its query.
        let failed = |error: reqwest::Error| FetchError::Request(error.without_url());
        let mut response = self
            .client
            .get(self.url.clone())
            .send()
            .await
            .map_err(failed)?;
        if response.status().as_u16() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let limit = self.limits.body_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(FetchError::TooLong(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_except_on_loopback() {
        let check = |url: &str| Fetcher::new(url, FetchLimits::default());
        for url in [
            "https://idp.example/jwks",
            "http://127.0.0.1:9/jwks",
            "http://[::1]/",
            "http://localhost/",
        ] {
            assert!(check(url).is_ok(), "{url}");
        }
        for url in [
            "http://idp.example/",
            "http://localhost.example/",
            "ftp://127.0.0.1/",
            "file:///etc/x",
        ] {
            assert!(matches!(check(url), Err(JwksUrlError::NotHttps)), "{url}");
        }
        assert!(matches!(
            check("https://a:b@idp.example/"),
            Err(JwksUrlError::Credentials)
        ));
        assert!(matches!(check("not a url"), Err(JwksUrlError::Malformed)));
    }
}
