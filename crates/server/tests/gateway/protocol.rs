//! What clients may do with HTTP itself: slowly, wrongly, too much, and from browsers.

mod browsers;
mod exchange;
mod frames;
mod framing;
mod http2;
mod readers;
mod slow;
mod streams;
mod wire;

use rolegate_testkit::TestDatabase;

use crate::harness::{Gateway, Options, api};

/// Functions that answer, wait, write, and return much, or more than any buffer of the kernel takes.
const FUNCTIONS: &str = "create function api.echo(t text) returns text language sql stable \
        as 'select t'; \
    create function api.pause(seconds double precision) returns text language sql stable \
        as 'select ''paused'' from pg_sleep(seconds)'; \
    create function api.long(n integer) returns text language sql stable \
        as 'select repeat(''many words '', n)'; \
    create function api.rows() returns setof text language sql stable \
        as 'select repeat(''x'', 1000) from generate_series(1, 16000)'; \
    create sequence api.numbers; \
    create function api.bump() returns bigint language sql volatile security definer \
        set search_path = pg_catalog as 'select nextval(''api.numbers'')'; \
    create function api.bumped() returns boolean language sql stable security definer \
        set search_path = pg_catalog as 'select is_called from api.numbers';";

/// A gateway with these functions, and the tokens of two roles.
async fn ready(db: &TestDatabase, options: Options) -> (Gateway, String, String) {
    let ann = db.create_role("ann").await;
    let bob = db.create_role("bob").await;
    api(db, &[&ann, &bob], FUNCTIONS).await;
    let gateway = Gateway::start_with(db, options).await;
    let tokens = (gateway.token(&ann).await, gateway.token(&bob).await);
    (gateway, tokens.0, tokens.1)
}
