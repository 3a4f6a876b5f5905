#![doc = include_str!("../README.md")]

pub mod client;
pub mod gate;
pub mod guard;
mod resolve;
mod retry_after;
pub mod target;

pub use client::{Answer, BodyEnd, Client, Request, SendError};
pub use gate::{Gate, GateConfig, Later, Pass, Why};
pub use guard::{Guard, GuardError, Verdict};
pub use resolve::{AddressRefused, Lookup, SystemLookup};
pub use retry_after::retry_after;
pub use target::{Origin, Target, TargetError};
