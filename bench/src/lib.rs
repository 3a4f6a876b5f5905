//! Closed-loop HTTP load: a number of keep-alive connections, each with one request in flight. And streams of
//! events, which only listen.

pub mod connection;
pub mod count;
pub mod request;
pub mod response;
pub mod run;
pub mod watch;
