//! The database contract and the role model, on real servers of both versions.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and does not get fails it"
)]

mod admission;
mod api_tokens;
mod bootstrap;
mod claims;
mod closure;
mod events;
mod idempotency;
mod installation;
mod records;
mod taken_back;
mod verification;

/// Each test on every version of this run, with an installation of its own.
macro_rules! on_each_version {
    ($($(#[$doc:meta])* async fn $name:ident($db:ident) $body:block)*) => {$(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            async fn body($db: &crate::installation::Installation) $body
            for version in crate::installation::versions() {
                let db = crate::installation::Installation::new(version).await;
                body(&db).await;
                db.remove().await;
            }
        }
    )*};
}
use on_each_version;
