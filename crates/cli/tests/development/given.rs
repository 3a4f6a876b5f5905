//! `rolegate dev --postgres URL`: a database that somebody else made.

use rolegate_pg::cluster::Source;

use crate::place::Place;
use crate::program::{fails, finishes, serves};

const OLDEST: Source = Source::System { major: Some(15) };
const NEWEST: Source = Source::Wheel;

/// Makes the database, serves from it in assume mode, and a second run finds everything there.
async fn an_empty_cluster_is_set_up_once(source: Source) {
    let place = Place::start(source).await;
    let before = place.snapshot().await;
    let url = place.url("mine");
    let first = serves(&place.dev(&url)).await;
    assert!(first.said("database mine (will be made)"), "{}", first.text);
    assert!(
        first.said("calls run in       assume mode"),
        "{}",
        first.text
    );
    place
        .run(
            "mine",
            "create function api.whoami() returns text language sql \
             as 'select current_user::text'",
        )
        .await;
    assert_eq!(place.whoami().await, "alice");
    assert_eq!(place.log_in_and_ask("bob").await, "bob");
    let record = place.record();
    assert_eq!(record["database"], "app");
    assert_eq!(record["database_url"], url);
    assert!(first.stop().await, "the server stops cleanly");

    let after = place.snapshot().await;
    let made: Vec<&String> = after.difference(&before).collect();
    assert!(made.contains(&&"database mine".to_owned()), "{made:?}");
    assert!(before.is_subset(&after), "something went away");

    let second = serves(&place.dev(&url)).await;
    assert!(
        second.said("nothing: roles and schemas are there"),
        "{}",
        second.text
    );
    assert_eq!(place.whoami().await, "alice");
    for who in ["alice", "operator"] {
        let again = &place.record()["users"][who]["password"];
        assert_eq!(again, &record["users"][who]["password"], "{who}");
    }
    assert!(second.stop().await);
    assert_eq!(place.snapshot().await, after);

    // The administrative commands find the logins' passwords beside it.
    let verified = finishes(&["roles", "verify", "--data-dir", place.data_dir()]).await;
    assert!(verified.success, "{}", verified.text);

    // Another data directory knows nothing of this, and touches nothing.
    let stranger = place.stranger();
    let refused = fails(&stranger.dev(&url, &["--yes"])).await;
    assert!(refused.contains("rolegate_gateway"), "{refused}");
    assert!(refused.contains("changes only what it made"), "{refused}");
    assert_eq!(place.snapshot().await, after);
    // And this directory is for this database.
    let elsewhere = fails(&place.dev(&place.url("postgres"))).await;
    assert!(elsewhere.contains("another --data-dir"), "{elsewhere}");
    assert_eq!(place.snapshot().await, after);
    place.stop().await;
}

/// Says what is there and stops, goes on when told, and leaves alone what it did not make.
async fn a_cluster_in_use_needs_a_yes(source: Source) {
    let place = Place::start(source).await;
    place
        .run(
            "postgres",
            "create role carla login password 'hers'; create role alice login password 'hers'; \
             comment on role alice is 'theirs'; comment on role carla is 'theirs'",
        )
        .await;
    place
        .run("postgres", "create database theirs owner carla")
        .await;
    place.run("postgres", "create database mine").await;
    place
        .run(
            "mine",
            "create schema api authorization carla; create table public.t (n int); \
             create function api.theirs() returns int language sql return 1",
        )
        .await;
    let before = place.snapshot().await;
    let url = place.url("mine");
    let refused = fails(&place.dev(&url)).await;
    for there in [
        "databases: theirs",
        "roles: alice, carla",
        "schemas: api",
        "tables and views in public: t",
        "--yes",
        "makes roles",
        "rolegate_authenticator",
        "role alice, which was there",
        "schema api, which was there",
    ] {
        assert!(refused.contains(there), "{there} is not in {refused}");
    }
    assert!(
        !refused.contains("hush"),
        "the superuser's password: {refused}"
    );
    assert_eq!(place.snapshot().await, before, "nothing was made");

    let mut arguments = place.dev(&url);
    arguments.push("--yes".to_owned());
    let running = serves(&arguments).await;
    let people = place.record();
    assert!(people["users"]["bob"].is_object() && people["users"]["alice"].is_null());
    assert!(running.stop().await);
    let after = place.snapshot().await;
    let gone: Vec<&String> = before.difference(&after).collect();
    // Said in the plan: PUBLIC loses what it has in a new database by default.
    assert!(gone.is_empty(), "{gone:?}");
    // Everything is there now, so there is nothing to agree to.
    let again = serves(&place.dev(&url)).await;
    assert!(again.stop().await);
    assert_eq!(place.snapshot().await, after);

    // The example would change alice and the schema.
    let mut arguments = place.dev(&url);
    arguments.extend(["--yes", "--example", "expenses"].map(str::to_owned));
    let refused = fails(&arguments).await;
    assert!(refused.contains("role alice, schema api are"), "{refused}");
    assert_eq!(place.snapshot().await, after);
    place.stop().await;
}

#[tokio::test]
async fn an_empty_cluster_is_set_up_once_on_15() {
    an_empty_cluster_is_set_up_once(OLDEST).await;
}

#[tokio::test]
async fn an_empty_cluster_is_set_up_once_on_18() {
    an_empty_cluster_is_set_up_once(NEWEST).await;
}

#[tokio::test]
async fn a_cluster_in_use_needs_a_yes_on_15() {
    a_cluster_in_use_needs_a_yes(OLDEST).await;
}

#[tokio::test]
async fn a_cluster_in_use_needs_a_yes_on_18() {
    a_cluster_in_use_needs_a_yes(NEWEST).await;
}

#[tokio::test]
async fn a_socket_with_a_peer_map_gives_login_mode() {
    let place = Place::start(NEWEST).await;
    place.let_everybody_in().await;
    let running = serves(&place.dev(&place.socket_url("mine"))).await;
    place
        .run(
            "mine",
            "create function api.whoami() returns text language sql \
             begin atomic select session_user::text; end",
        )
        .await;
    // In assume mode the session's user is the authenticator.
    assert_eq!(place.whoami().await, "alice");
    assert!(running.stop().await);
    place.stop().await;
}

#[tokio::test]
async fn who_is_no_superuser_is_refused() {
    let place = Place::start(NEWEST).await;
    place
        .run("postgres", "create role plain login password 'hush'")
        .await;
    let before = place.snapshot().await;
    let url = place.url("postgres").replace("//postgres:", "//plain:");
    let refused = fails(&place.dev(&url)).await;
    assert!(refused.contains("plain is no superuser"), "{refused}");
    let wrong = fails(&place.dev(&url.replace("hush", "wrong-one"))).await;
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert!(!wrong.contains("wrong-one"), "{wrong}");
    assert_eq!(place.snapshot().await, before);
    place.stop().await;
}
