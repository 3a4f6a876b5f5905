//! Clients that ask for much and do not take it.

use std::time::{Duration, Instant};

use rolegate_server::serve::ListenLimits;
use rolegate_testkit::{TestDatabase, for_each_version};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::{ready, wire};
use crate::harness::{Gateway, NAME, Options, api};

/// A connection on which little is on its way, that has sent this request and reads nothing.
async fn ask(gateway: &Gateway, path: &str, token: &str, accept: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("ours");
    let stream = socket.connect(gateway.address).await.expect("it listens");
    ask_on(stream, path, token, accept).await
}

async fn ask_on(mut stream: TcpStream, path: &str, token: &str, accept: &str) -> TcpStream {
    let request = format!(
        "GET /api/{NAME}{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         accept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("read");
    stream
}

/// How much of the rows has arrived.
fn taken(answer: &str) -> usize {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    body.bytes().filter(|byte| *byte == b'x').count()
}

#[tokio::test]
async fn who_does_not_read_a_stream_keeps_no_connection_to_the_database() {
    for_each_version(async |db| {
        let options = Options {
            connections_per_login: 1,
            ..Options::default()
        };
        let (gateway, token, _) = ready(db, options).await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(ask(&gateway, "/rows", &token, "application/x-ndjson").await);
        }
        let start = Instant::now();
        let (status, body) = gateway.call(&token, "echo", r#"{"t": "x"}"#).await;
        assert_eq!((status.as_u16(), body.as_str()), (200, "\"x\""));
        assert!(start.elapsed() < Duration::from_secs(4));
        // All of it is there when they do read.
        for mut stream in streams {
            let text = wire::rest(&mut stream, Duration::from_secs(20)).await;
            let text = text.expect("closed");
            assert_eq!(wire::statuses(&text), [200]);
            assert_eq!(taken(&text), 16_000_000);
        }
    })
    .await;
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_sent_away() {
    for_each_version(async |db| {
        let options = Options {
            listen: ListenLimits {
                write_timeout: Duration::from_secs(1),
                max_connections: 4,
                ..ListenLimits::default()
            },
            ..Options::default()
        };
        let (gateway, token, _) = ready(db, options).await;
        // All the connections there are.
        let mut silent = Vec::new();
        for accept in ["application/json", "application/x-ndjson"] {
            for _ in 0..2 {
                silent.push(ask(&gateway, "/rows", &token, accept).await);
            }
        }
        let start = Instant::now();
        let next = format!("/api/{NAME}/echo?t=x");
        let message = format!(
            "GET {next} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        );
        let received = wire::until_closed(gateway.address, message.as_bytes()).await;
        assert_eq!(wire::statuses(&received.expect("a place")), [200]);
        assert!(
            start.elapsed() >= Duration::from_millis(700),
            "they were not in the way"
        );
        // The others were asked for at the same time, but made one after the other.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for mut stream in silent {
            let text = wire::rest(&mut stream, wire::PATIENCE)
                .await
                .expect("closed");
            assert!(taken(&text) < 16_000_000);
            // Nobody takes it for the whole.
            assert!(!text.ends_with(']') && !text.ends_with("0\r\n\r\n"));
        }
    })
    .await;
}

#[tokio::test]
async fn who_reads_slowly_but_reads_gets_everything() {
    for_each_version(async |db| {
        let options = Options {
            listen: ListenLimits {
                write_timeout: Duration::from_secs(1),
                ..ListenLimits::default()
            },
            ..Options::default()
        };
        let (gateway, token, _) = ready(db, options).await;
        let stream = TcpStream::connect(gateway.address)
            .await
            .expect("it listens");
        let mut stream = ask_on(stream, "/rows", &token, "application/json").await;
        let mut length = 0;
        let mut chunk = vec![0; 1024 * 1024];
        let start = Instant::now();
        loop {
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut chunk);
            let read = read.await.expect("not reset");
            length += read;
            if read == 0 {
                break;
            }
            if start.elapsed() < Duration::from_secs(2) {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        assert!(start.elapsed() > Duration::from_secs(2), "it was not slow");
        assert!(length > 16_000_000, "{length}");
    })
    .await;
}

/// Emits events of 4 KiB that start with this number.
async fn emit(db: &TestDatabase, from: i32, count: i32) {
    let superuser = db.superuser().await;
    let to = from + count - 1;
    let sql = format!(
        "select rolegate.emit('orders', jsonb_build_object('n', n, 'x', repeat('x', 4096))) \
         from generate_series({from}, {to}) n"
    );
    superuser.batch_execute(&sql).await.expect("emitted");
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_told_and_the_others_miss_nothing() {
    for_each_version(async |db| {
        let watcher = db.create_role("watcher").await;
        let definitions = "create function api.may_watch() returns boolean language sql stable \
                 as 'select true'; \
             select rolegate.channel('orders', 'api.may_watch');";
        api(db, &[&watcher], definitions).await;
        let gateway = Gateway::start(db).await;
        let token = gateway.token(&watcher).await;
        let path = "/events?channels=orders";
        let mut slow = ask(&gateway, path, &token, "text/event-stream").await;
        let mut fast = gateway.get(path, Some(&token)).send().await.expect("open");
        assert_eq!(fast.status().as_u16(), 200);
        let mut events = 0;
        // 16 MiB, of which the slow one takes none.
        for round in 0..20 {
            emit(db, round * 200, 200).await;
            let wanted = events + 200;
            let all = async {
                while events < wanted {
                    let chunk = fast.chunk().await.expect("open").expect("more");
                    let chunk = String::from_utf8_lossy(&chunk);
                    assert!(
                        !chunk.contains("event: "),
                        "the fast one was told something"
                    );
                    events += chunk.matches("\"channel\":").count();
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(10), all).await;
            assert!(in_time.is_ok(), "{events} of {wanted}");
        }
        assert_eq!(events, 4000);

        let received = wire::rest(&mut slow, Duration::from_secs(20)).await;
        let received = received.expect("it is dropped");
        assert!(received.matches("\"channel\"").count() < 4000);
        let told = received.rfind("event: error").expect("it is told");
        let told = &received[told..];
        assert!(told.contains("\"overloaded\""), "{told}");
        assert!(told.contains("Last-Event-ID"), "{told}");
        // Where it was is where it can go on.
        let last = received.rfind("id: ").expect("an event");
        let id = received[last + 4..].lines().next().expect("an id");
        let again = gateway.get(path, Some(&token)).header("last-event-id", id);
        let mut again = again.send().await.expect("open");
        let first = again.chunk().await.expect("open").expect("an event");
        let first = String::from_utf8_lossy(&first);
        let n = received.matches("\"channel\"").count();
        assert!(
            first.contains(&format!("\"n\": {n},")),
            "{n}: {}",
            &first[..200]
        );
    })
    .await;
}
