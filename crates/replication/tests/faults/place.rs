//! A server that a test may stop and change.

pub(crate) use rolegate_testkit::own_server::OwnServer as Place;
