//! How many may watch, how much is kept, and who is too slow.

use std::time::Duration;

use rolegate_server::config::LiveBounds;
use rolegate_testkit::for_each_version;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::stage::{LONG, Stage, with_bounds};
use crate::harness::publish;

#[tokio::test]
async fn where_the_stream_is_not_followed_nothing_can_be_watched() {
    for_each_version(async |db| {
        let gateway = crate::harness::Gateway::start(db).await;
        let url = format!("http://{}/query?live=true&sql=select+1", gateway.address);
        let answer = gateway.client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 503);
        let body = answer.text().await.expect("a body");
        assert!(body.contains("change stream"), "{body}");
    })
    .await;
}

#[tokio::test]
async fn queries_and_streams_are_bounded() {
    for_each_version(async |db| {
        let bounds = LiveBounds {
            groups: 2,
            streams_per_role: 3,
            max_rows: 4,
            grace: Duration::from_millis(300),
            ..LiveBounds::default()
        };
        let stage = Stage::set_with(db, with_bounds(bounds)).await;
        let first = stage.watch(None, "select id from open").await;
        let second = stage.watch(None, "select name from open").await;
        let overloaded = (503, "overloaded".to_owned());
        assert_eq!(
            stage.refusal(None, "select 1 as a from open").await,
            overloaded
        );
        let third = stage.watch(None, "select id from open").await;
        assert_eq!(stage.refusal(None, "select id from open").await, overloaded);
        drop((second, third));
        // A place is free when the server has noticed, a query when nobody has come back to it.
        let mut watcher = loop {
            let answer = stage
                .ask(None, &json!({"sql": "select 1 as a from open"}), None)
                .await;
            if answer.status() == 200 {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(watcher.chunk().await.expect("a chunk").is_some());
        drop(first);
        // More rows than a live query may have.
        let mut growing = loop {
            let answer = stage
                .ask(None, &json!({"sql": "select id from open"}), None)
                .await;
            if answer.status() == 200 {
                break super::stage::Watcher::new(answer);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        growing.expect("snapshot").await;
        stage
            .write("insert into api.open select g, 'n' from generate_series(10, 20) g")
            .await;
        growing.ends("result_too_large").await;
    })
    .await;
}

/// Whoever has no token can't take all places.
#[tokio::test]
async fn the_last_places_are_for_those_who_have_a_token() {
    for_each_version(async |db| {
        let bounds = LiveBounds {
            groups: 4,
            ..LiveBounds::default()
        };
        let stage = Stage::set_with(db, with_bounds(bounds)).await;
        let mut open = Vec::new();
        for number in 0..3 {
            let sql = format!("select {number} as a from open");
            open.push(stage.watch(None, &sql).await);
        }
        let overloaded = (503, "overloaded".to_owned());
        let sql = "select 3 as a from open";
        assert_eq!(stage.refusal(None, sql).await, overloaded);
        let token = stage.member_of(1);
        open.push(stage.watch(Some(&token), sql).await);
        // What is watched already, everybody may watch.
        open.push(stage.watch(None, sql).await);
        assert_eq!(
            stage.refusal(Some(&token), "select 4 as a from open").await,
            overloaded
        );
    })
    .await;
}

#[tokio::test]
async fn who_reads_too_slowly_begins_anew_and_others_notice_nothing() {
    for_each_version(async |db| {
        let bounds = LiveBounds {
            history: 3,
            ..LiveBounds::default()
        };
        let stage = Stage::set_with(db, with_bounds(bounds)).await;
        stage.run("create table api.big (id int primary key, v text not null); grant select on api.big to public")
            .await;
        publish(db).await;
        let sql = "select id, v from big";
        // A client with room for little, who does not read.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let mut slow = socket.connect(stage.gateway.address).await.expect("connected");
        let request = "GET /query?live=true&sql=select+id,v+from+big HTTP/1.1\r\nhost: x\r\n\r\n";
        slow.write_all(request.as_bytes()).await.expect("sent");
        let mut quick = stage.watch(None, sql).await;
        quick.expect("snapshot").await;
        for id in 0..16 {
            let insert = format!("insert into api.big values ({id}, repeat(md5('{id}'), 20000))");
            let txid = stage.write(&insert).await;
            quick.sees(txid).await;
            let delete = format!("delete from api.big where id = {id}");
            let txid = stage.write(&delete).await;
            quick.sees(txid).await;
        }
        assert_eq!(quick.resets, Vec::<String>::new());
        stage.write("insert into api.big values (99, 'the last')").await;
        let mut received = Vec::new();
        let read = async {
            let mut buffer = vec![0; 1 << 20];
            loop {
                let count = slow.read(&mut buffer).await.expect("more");
                assert_ne!(count, 0, "it goes on");
                received.extend_from_slice(&buffer[..count]);
                // No more than has just come: the first "the last" is the last.
                let tail = received.len().saturating_sub(count + 100);
                if String::from_utf8_lossy(&received[tail..]).contains("the last") {
                    break;
                }
            }
        };
        tokio::time::timeout(LONG, read).await.expect("in time");
        let text = String::from_utf8_lossy(&received);
        assert!(text.contains("event: reset\ndata: {\"op\":\"reset\",\"reason\":\"slow\"}"));
        assert!(text.matches("event: snapshot").count() >= 2);
    })
    .await;
}
