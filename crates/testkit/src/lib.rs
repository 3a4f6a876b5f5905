#![doc = include_str!("../README.md")]

pub mod clusters;
pub mod database;
pub mod each_version;
pub mod fault_proxy;
pub mod http_endpoint;
pub mod identity_provider;
pub mod own_server;
pub mod provision;
pub mod standby;

pub use clusters::{Clusters, Version};
pub use database::{Admitted, TestDatabase};
pub use each_version::for_each_version;
pub use fault_proxy::FaultProxy;
pub use http_endpoint::{Asked, HttpEndpoint, Reply};
pub use identity_provider::{IdentityProvider, SigningKey};
