//! Who may log in through the socket: one role, every member of a group, and nobody any more.

use std::path::Path;

use rolegate_pg::cluster::{Cluster, Options, Source};
use tokio_postgres::error::SqlState;

/// A cluster in a directory that an unprivileged server can reach, also when run as root.
async fn start(source: Source) -> (tempfile::TempDir, Cluster) {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755))
        .expect("our directory");
    let options = Options {
        cache_directory: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres")),
        durable: false,
        max_connections: 20,
        source,
        ..Options::new(place.path().join("cluster"))
    };
    let cluster = Cluster::start(options).await.expect("the cluster starts");
    (place, cluster)
}

async fn run(cluster: &Cluster, sql: &str) {
    let client = cluster.endpoint().connect("postgres", "postgres").await;
    let client = client.expect("the superuser logs in");
    client.batch_execute(sql).await.expect(sql);
}

async fn logs_in(cluster: &Cluster, role: &str) -> bool {
    match cluster.endpoint().connect(role, "postgres").await {
        Ok(_) => true,
        Err(error) => {
            let refused = Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
            assert_eq!(error.code(), refused, "{role}: {error:?}");
            false
        }
    }
}

#[tokio::test]
async fn a_dismissed_role_does_not_come_in_again() {
    let (_place, mut cluster) = start(Source::Auto).await;
    run(&cluster, "create role ann login; create role bob login").await;
    cluster.admit(&["ann", "bob"]).await.expect("admitted");
    assert!(logs_in(&cluster, "ann").await && logs_in(&cluster, "bob").await);
    for _ in 0..2 {
        cluster
            .dismiss(&["ann", "nobody"])
            .await
            .expect("dismissed");
        assert!(!logs_in(&cluster, "ann").await);
        assert!(logs_in(&cluster, "bob").await);
    }
    cluster.restart().await.expect("it restarts");
    assert!(!logs_in(&cluster, "ann").await);
    assert!(logs_in(&cluster, "bob").await);
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn before_16_there_is_no_line_for_a_group() {
    let (_place, mut cluster) = start(Source::System { major: Some(15) }).await;
    run(
        &cluster,
        "create role staff; create role ann login in role staff; create role \"+staff\" login",
    )
    .await;
    let done = cluster.admit_members_of("staff").await;
    assert!(!done.expect("it answers"));
    assert!(!logs_in(&cluster, "ann").await);
    assert!(!logs_in(&cluster, "+staff").await);
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn members_of_a_group_come_in_without_a_reload_and_others_do_not() {
    let (_place, mut cluster) = start(Source::Wheel).await;
    run(
        &cluster,
        "create role \"the staff\"; create role staff; create role ann login; \
         create role bob login; create role \"/.*\" login; create role \"+the staff\" login; \
         create role \"the\" login; create role outsider login in role staff",
    )
    .await;
    let done = cluster.admit_members_of("the staff").await;
    assert!(done.expect("it answers"));
    let everyone = ["ann", "bob", "/.*", "+the staff", "the", "outsider"];
    for role in everyone {
        assert!(!logs_in(&cluster, role).await, "{role} is no member");
    }
    // No reload here: the server looks at the memberships when somebody logs in. A name that
    // could not stand in the file itself is fine, because it does not.
    run(
        &cluster,
        "grant \"the staff\" to ann, \"/.*\" with inherit false, set false",
    )
    .await;
    for role in everyone {
        assert_eq!(
            logs_in(&cluster, role).await,
            ["ann", "/.*"].contains(&role),
            "{role}"
        );
    }
    run(&cluster, "revoke \"the staff\" from ann").await;
    assert!(!logs_in(&cluster, "ann").await);

    // Every kind of membership counts, through others too: whoever may hand the group out is in.
    run(
        &cluster,
        "create role grantor; grant \"the staff\" to grantor with admin true, inherit false, \
         set false; grant grantor to bob",
    )
    .await;
    assert!(logs_in(&cluster, "bob").await);

    cluster.restart().await.expect("it restarts");
    assert!(logs_in(&cluster, "bob").await && !logs_in(&cluster, "ann").await);
    let refused = cluster.admit_members_of("/.*").await;
    assert!(refused.is_err());
    assert!(!logs_in(&cluster, "ann").await);
    cluster.stop().await.expect("it stops");
}
