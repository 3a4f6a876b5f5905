//! The same statements on the servers of this run.

use std::path::Path;

use rolegate_testkit::{TestDatabase, for_each_version};

use super::description::describe;

const SCENARIO: &str = include_str!("scenario.sql");

/// Runs the statements, and gives what the server says about them.
///
/// As a superuser: it makes a slot and an origin, and this is about what the server sends, not about who
/// may read it.
async fn play(db: &TestDatabase) -> Vec<Vec<u8>> {
    let client = db.superuser().await;
    let slot = format!("recording_{}", db.name().trim_start_matches("test_"));
    let named = SCENARIO.replace("SLOT", &slot);
    let origin = "select pg_catalog.pg_replication_origin_create($1)";
    client.query(origin, &[&slot]).await.unwrap();
    for batch in named.split("----\n") {
        if let Err(error) = client.batch_execute(batch).await {
            panic!("{batch}: {error:?}");
        }
    }
    let rows = client
        .query(
            "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', \
             'publication_names', 'recording,recording_inserts', 'messages', 'true')",
            &[&slot],
        )
        .await
        .unwrap();
    let drop = "select pg_catalog.pg_drop_replication_slot($1)";
    client.query(drop, &[&slot]).await.unwrap();
    let drop = "select pg_catalog.pg_replication_origin_drop($1)";
    client.query(drop, &[&slot]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn servers_of_today_send_what_was_recorded() {
    for_each_version(async |db| {
        assert_eq!(
            describe(&play(db).await),
            include_str!("recorded/meaning.txt")
        );
    })
    .await;
}

/// Writes the recordings anew: `cargo test -p rolegate-replication --test stream -- --ignored record`
/// under `with-clusters`.
#[tokio::test]
#[ignore = "writes files of the repository"]
async fn record() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stream/recorded");
    for_each_version(async |db| {
        let messages = play(db).await;
        let hex = |bytes: &Vec<u8>| {
            let digit = |half| char::from_digit(u32::from(half), 16).unwrap();
            let pairs = bytes
                .iter()
                .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
            pairs.chain(['\n']).collect::<String>()
        };
        let text: String = messages.iter().map(hex).collect();
        let file = place.join(format!("{}.hex", db.version().major()));
        std::fs::write(file, text).unwrap();
        std::fs::write(place.join("meaning.txt"), describe(&messages)).unwrap();
    })
    .await;
}
