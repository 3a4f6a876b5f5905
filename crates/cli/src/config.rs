//! The configuration file and its place in the process: one typed tree, file < environment <
//! flags, unknown keys refused.

mod address;
mod bounds;
mod build;
mod callbacks;
mod cron;
mod function_headers;
mod function_rules;
mod functions;
mod live;
mod load;
mod peers;
mod purge;
mod reference;
mod replication;
mod tree;

pub(crate) use address::{endpoint_of, is_loopback, password_target};
pub(crate) use build::{plan, read_seal_key};
pub(crate) use callbacks::{
    Callbacks as CallbacksSection, CallbacksSurface, Flags as CallbacksFlags, callbacks,
    surface as callbacks_surface,
};
pub(crate) use cron::crons;
pub(crate) use functions::{FunctionMode, Functions, HttpFunction, functions};
pub(crate) use load::{Loaded, load};
pub(crate) use peers::Outcome;
pub(crate) use purge::keys as purge_keys;
pub(crate) use reference::page as reference_page;
pub(crate) use tree::{Config, Log, LogFormat};
