//! Two ways to one database: what needs a session that lasts takes the direct one, everything else
//! the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rolegate_pg::wire::{Endpoint, TlsMode};
use rolegate_server::database::OpenError;
use rolegate_testkit::{FaultProxy, TestDatabase, Version, for_each_version};

use crate::harness::{Gateway, NAME, Options, api};

/// A way to `db` that can be cut.
fn way(db: &TestDatabase) -> (FaultProxy, Endpoint) {
    let target = db.wire_endpoint();
    let proxy = FaultProxy::unix(target.address).expect("a proxy");
    let endpoint = Endpoint {
        address: proxy.address(),
        tls: TlsMode::Disable,
        database: target.database,
    };
    (proxy, endpoint)
}

/// The connections to `db` but our own, by pid: who, as what, and what was said last.
async fn sessions(db: &TestDatabase) -> BTreeMap<i32, (String, String, String)> {
    let sql = "select pid, usename::text, application_name, query from pg_stat_activity \
               where datname = current_database() and pid <> pg_backend_pid() \
               and backend_type = 'client backend' and usename <> current_user";
    let rows = db.superuser().await.query(sql, &[]).await.expect("rows");
    rows.iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3))))
        .collect()
}

/// Cuts a way; what went by it.
async fn cut(db: &TestDatabase, proxy: &FaultProxy) -> Vec<(String, String, String)> {
    let ways = proxy.connections();
    let before = sessions(db).await;
    proxy.refuse_new(true).await.expect("refused from now on");
    proxy.cut_all().await;
    let start = Instant::now();
    loop {
        let after = sessions(db).await;
        let gone = before.iter().filter(|(pid, _)| !after.contains_key(pid));
        let gone: Vec<_> = gone.map(|(_, session)| session.clone()).collect();
        if gone.len() >= ways {
            return gone;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{gone:?} of {ways}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn listening_and_watching_go_the_direct_way() {
    for_each_version(async |db| {
        let role = db.create_role("caller").await;
        let sql = "create function api.ping() returns int language sql as 'select 1';";
        api(db, &[&role], sql).await;
        let (pooler, endpoint) = way(db);
        let (past_it, direct) = way(db);
        let gateway = Gateway::start_with(
            db,
            Options {
                endpoint: Some(endpoint),
                direct: Some(direct),
                ..Options::default()
            },
        )
        .await;
        let token = gateway.token(&role).await;
        let (status, body) = gateway.call(&token, "ping", "[]").await;
        assert_eq!(status, 200, "{body}");
        // The listener has begun.
        let listener = |session: &(String, String, String)| session.1 == "rolegate listener";
        let start = Instant::now();
        while !sessions(db).await.values().any(listener) {
            assert!(start.elapsed() < Duration::from_secs(5), "nobody listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let by_the_pooler = cut(db, &pooler).await;
        let has = |sessions: &[(String, String, String)], user: &str| {
            sessions.iter().any(|session| session.0 == user)
        };
        assert!(has(&by_the_pooler, &role), "{by_the_pooler:?}");
        assert!(has(&by_the_pooler, "rolegate_gateway"), "{by_the_pooler:?}");
        assert!(!by_the_pooler.iter().any(listener), "{by_the_pooler:?}");

        // What is watched is still watched.
        let superuser = db.superuser().await;
        let sql = "create function api.pong() returns int language sql as 'select 2'";
        superuser.execute(sql, &[]).await.expect("a function");
        let document = async || {
            let url = format!("http://{}/api/{NAME}/openapi.json", gateway.address);
            let request = gateway.client.get(url).bearer_auth(&token);
            let answer = request.send().await.expect("an answer");
            answer.text().await.expect("a document")
        };
        let start = Instant::now();
        while !document().await.contains("pong") {
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "nobody watches the catalog"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let directly = cut(db, &past_it).await;
        assert!(directly.iter().any(listener), "{directly:?}");
        let others = directly.iter().filter(|session| !listener(session));
        let watching: Vec<_> = others.collect();
        assert!(!watching.is_empty(), "{directly:?}");
        assert!(
            watching
                .iter()
                .all(|session| session.0 == "rolegate_gateway"),
            "{watching:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_direct_way_to_another_database_is_refused() {
    let refused = async |db: &TestDatabase, direct: Endpoint| -> String {
        let options = Options {
            direct: Some(direct),
            ..Options::default()
        };
        let error = Gateway::try_start_with(db, options).await;
        let error = error.map(|_| ()).expect_err("it is another one");
        assert!(matches!(error, OpenError::Direct(..)), "{error:?}");
        assert!(error.to_string().starts_with("direct_url of"), "{error}");
        std::error::Error::source(&error)
            .expect("a cause")
            .to_string()
    };
    for_each_version(async |db| {
        api(db, &[], "").await;
        let same = Options {
            direct: Some(db.wire_endpoint()),
            ..Options::default()
        };
        Gateway::start_with(db, same).await;

        let neighbour = TestDatabase::create(db.version()).await;
        let cause = refused(db, neighbour.wire_endpoint()).await;
        let (this, that) = (db.name(), neighbour.name());
        assert_eq!(
            cause,
            format!("it leads to another database than url: database {that}, not {this}")
        );
        neighbour.drop().await;

        let mut nowhere = db.wire_endpoint();
        nowhere.database = "nowhere".to_owned();
        let cause = refused(db, nowhere).await;
        assert_eq!(cause, "it can't be asked which database it leads to");
    })
    .await;

    // Another cluster, whatever its databases are called.
    let [one, other] = Version::ALL.map(TestDatabase::create);
    let (one, other) = (one.await, other.await);
    let cause = refused(&one, other.wire_endpoint()).await;
    assert!(
        cause.starts_with("it leads to another database than url: system identifier "),
        "{cause}"
    );
    one.drop().await;
    other.drop().await;
}
