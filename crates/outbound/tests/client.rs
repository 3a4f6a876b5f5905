//! The client against an endpoint that does what endpoints do, and what they should not.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use rolegate_outbound::{Answer, BodyEnd, Client, Guard, Lookup, Request, SendError, Target};
use rolegate_testkit::{HttpEndpoint, Reply};
use tokio::io::AsyncWriteExt as _;

/// Where tests may go.
fn loopback() -> Guard {
    Guard::new(["127.0.0.0/8"]).unwrap()
}

async fn post(client: &Client, guard: &Guard, url: &str) -> Result<Answer, SendError> {
    let target = Target::new(url, guard).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-mine", HeaderValue::from_static("1"));
    let request = Request {
        target: &target,
        headers,
        body: Bytes::from_static(b"{\"a\": 1}"),
        timeout: Duration::from_millis(500),
        max_answer: 100,
    };
    client.post(request).await
}

async fn answer(reply: Reply) -> Result<Answer, SendError> {
    let endpoint = HttpEndpoint::always(reply).await.unwrap();
    let client = Client::new(&loopback()).unwrap();
    post(&client, &loopback(), &endpoint.url("/x")).await
}

fn bytes(text: &str) -> Reply {
    Reply::Bytes(vec![(Duration::ZERO, text.as_bytes().to_vec())])
}

#[tokio::test]
async fn the_request_is_what_was_said_and_nothing_else() {
    let endpoint = HttpEndpoint::always(Reply::of(200, "{}")).await.unwrap();
    let client = Client::new(&loopback()).unwrap();
    let url = endpoint.url("/a?key=1");
    let answer = post(&client, &loopback(), &url).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.end), (200, BodyEnd::Whole));
    assert_eq!(answer.body, "{}");
    post(&client, &loopback(), &url).await.unwrap();
    let asked = endpoint.asked();
    assert_eq!(asked[0].line, "POST /a?key=1 HTTP/1.1");
    assert_eq!(asked[0].body, b"{\"a\": 1}");
    let mut names: Vec<&str> = asked[0].headers.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    let expected = ["accept", "content-length", "host", "user-agent", "x-mine"];
    assert_eq!(names, expected);
    assert!(asked[0].header("user-agent")[0].starts_with("rolegate/"));
    assert_eq!(asked[1].connection, 0, "a connection is used again");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nobody_goes_there() {
    let elsewhere = HttpEndpoint::always(Reply::of(200, "secret"))
        .await
        .unwrap();
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let reply = Reply::of(status, "").with("location", &elsewhere.url("/"));
        let answer = answer(reply).await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn an_answer_is_bounded_in_time_and_size() {
    let late = answer(Reply::Silence).await.expect_err("silence");
    assert_eq!(late, SendError::Late(Duration::from_millis(500)));
    let head = b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n".to_vec();
    let slow = |pause| vec![(pause, head.clone()), (pause, b"12345".to_vec())];
    let slow_head = Reply::Bytes(slow(Duration::from_mins(1)));
    assert!(matches!(answer(slow_head).await, Err(SendError::Late(_))));
    // A head that comes in drops is no faster for it.
    let mut drops: Vec<_> = head[..20]
        .iter()
        .map(|byte| (Duration::from_millis(100), vec![*byte]))
        .collect();
    drops.push((Duration::ZERO, head[20..].to_vec()));
    assert!(matches!(
        answer(Reply::Bytes(drops)).await,
        Err(SendError::Late(_))
    ));

    let mut pieces = slow(Duration::ZERO);
    pieces.push((Duration::from_mins(1), b"6789".to_vec()));
    let slow_body = answer(Reply::Bytes(pieces)).await.unwrap();
    assert_eq!(
        (&*slow_body.body, slow_body.end),
        (&b"12345"[..], BodyEnd::Late)
    );

    let cut = answer(Reply::Bytes(slow(Duration::ZERO))).await.unwrap();
    assert_eq!((&*cut.body, cut.end), (&b"12345"[..], BodyEnd::Broken));

    let exact = answer(Reply::of(200, &"x".repeat(100))).await.unwrap();
    assert_eq!((exact.body.len(), exact.end), (100, BodyEnd::Whole));
    let long = answer(Reply::of(200, &"x".repeat(101))).await.unwrap();
    assert_eq!((long.body.len(), long.end), (100, BodyEnd::TooLong));
    // Without a length, too, and whatever it claims to be.
    let endless = format!("HTTP/1.1 200 x\r\n\r\n{}", "x".repeat(100_000));
    let endless = answer(bytes(&endless)).await.unwrap();
    assert_eq!((endless.body.len(), endless.end), (100, BodyEnd::TooLong));
    let packed = Reply::of(200, "123").with("content-encoding", "gzip");
    assert_eq!(
        answer(packed).await.unwrap().body,
        "123",
        "nothing is unpacked"
    );
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let many = "a: b\r\n".repeat(200);
    for text in [
        "",
        "hello",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 x\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 x\r\ncontent-length: -1\r\n\r\n",
        &format!("HTTP/1.1 200 x\r\n{many}\r\n"),
        &format!("HTTP/1.1 200 x\r\na: {}\r\n\r\n", "b".repeat(1 << 20)),
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\x16\x03\x01\x00\x05",
    ] {
        let answer = answer(bytes(text)).await;
        let start = &text[..text.len().min(30)];
        assert!(
            matches!(answer, Err(SendError::Broken(_))),
            "{start}: {answer:?}"
        );
    }
    assert!(matches!(
        answer(Reply::Close).await,
        Err(SendError::Broken(_))
    ));
    let broken = answer(bytes(
        "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ))
    .await;
    assert_eq!(broken.unwrap().end, BodyEnd::Broken);
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_connection() {
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/?key=hunter2", listener.local_addr().unwrap())
    };
    let client = Client::new(&loopback()).unwrap();
    let error = post(&client, &loopback(), &url).await.expect_err("nobody");
    assert!(matches!(error, SendError::Connect(_)), "{error:?}");
    assert!(!format!("{error:?}{error}").contains("hunter2"));
    // Plain text where TLS is expected.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 x\r\n\r\n").await.unwrap();
    });
    let error = post(&client, &loopback(), &url).await.expect_err("no TLS");
    assert!(matches!(error, SendError::Connect(_)), "{error:?}");
}

/// Gives one list of addresses after another.
struct Scripted {
    answers: Mutex<Vec<Vec<&'static str>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(mut answers: Vec<Vec<&'static str>>) -> Arc<Self> {
        answers.reverse();
        Arc::new(Self {
            answers: Mutex::new(answers),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Lookup for Scripted {
    fn lookup(&self, _name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let addresses = self.answers.lock().unwrap().pop().unwrap_or_default();
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        async move { Ok(addresses) }.boxed()
    }
}

#[tokio::test]
async fn a_name_that_leads_to_us_is_refused_before_a_connection() {
    let endpoint = HttpEndpoint::always(Reply::of(200, "")).await.unwrap();
    let port = endpoint.address().port();
    for addresses in [
        vec!["127.0.0.1"],
        vec!["::ffff:127.0.0.1"],
        vec!["::1", "127.0.0.1"],
        vec!["169.254.169.254"],
        vec!["0.0.0.0"],
    ] {
        let lookup: Arc<dyn Lookup> = Scripted::new(vec![addresses.clone()]);
        let guard = Guard::default();
        let client = Client::with_lookup(&guard, &lookup).unwrap();
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://innocent.example:{port}/");
            let error = post(&client, &guard, &url).await.expect_err("refused");
            if scheme == "http" {
                let first: IpAddr = addresses[0].parse().unwrap();
                assert_eq!(error.refused_address(), Some(first), "{error:?}");
            }
        }
    }
    // The system knows this name.
    let client = Client::new(&Guard::default()).unwrap();
    let url = format!("http://localhost:{port}/");
    let error = post(&client, &Guard::default(), &url)
        .await
        .expect_err("refused");
    assert!(
        error
            .refused_address()
            .is_some_and(|address| address.is_loopback())
    );
    assert!(endpoint.asked().is_empty());
    let client = Client::new(&loopback()).unwrap();
    assert!(
        post(&client, &loopback(), &url).await.is_ok(),
        "unless it is allowed"
    );
}

/// A name server that gives a good address to who looks, and another to who connects.
#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_looked_at() {
    let endpoint = HttpEndpoint::start(async |_| Reply::of(200, "").with("connection", "close"))
        .await
        .unwrap();
    let guard = Guard::new(["127.0.0.1"]).unwrap();
    let url = format!("http://rebinds.example:{}/", endpoint.address().port());
    // 127.0.0.2 would be answered as well: the endpoint of this test is on 127.0.0.1 only, and a
    // connection there is an error of its own.
    let lookup = Scripted::new(vec![
        vec!["127.0.0.1"],
        vec!["127.0.0.2"],
        vec!["127.0.0.1"],
    ]);
    let shared: Arc<dyn Lookup> = lookup.clone();
    let client = Client::with_lookup(&guard, &shared).unwrap();
    assert!(post(&client, &guard, &url).await.is_ok());
    assert_eq!(
        lookup.asked.load(Ordering::SeqCst),
        1,
        "asked once, and used"
    );
    let second = post(&client, &guard, &url)
        .await
        .expect_err("another address");
    assert_eq!(second.refused_address(), Some("127.0.0.2".parse().unwrap()));
    assert!(post(&client, &guard, &url).await.is_ok());
    assert_eq!(lookup.asked.load(Ordering::SeqCst), 3);
    assert_eq!(endpoint.asked().len(), 2);
}
