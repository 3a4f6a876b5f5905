//! How many may come, how long they may be silent, and how much they may say.

use std::io::ErrorKind;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::message::Question;
use super::*;

#[tokio::test]
async fn a_slow_subscriber_loses_its_place_and_nobody_waits_for_it() {
    let bounds = FeedBounds {
        commits: 16,
        bytes: 1 << 20,
    };
    let reader = Reader::start(bounds).await;
    let mut fast = Follower::new();
    let fast_hears = fast.hear(reader.found(), None);
    assert_eq!(fast.said().await, "lost Began one 7");
    let mut slow = Slow::connect(&reader.found()).await;
    // More than fits into any buffer on the way.
    for number in 1..=600 {
        let mut large = commit(number);
        large.messages = vec!["x".repeat(10_000).into()];
        reader.feed.tell(large);
        tokio::task::yield_now().await;
    }
    assert!(slow.lost_its_place().await);
    reader.feed.pass(Lsn(1_000_000));
    timeout(LONG, fast.feed.wait_passed(Lsn(1_000_000)))
        .await
        .expect("in time")
        .expect("it follows");
    fast_hears.abort();
}

/// Whoever has not said who he is takes a place for a moment, and there are few of them.
#[tokio::test]
async fn strangers_are_bounded_and_do_not_stay() {
    let reader = Reader::start(FeedBounds::default()).await;
    let address = reader.found().address;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(&address).await.expect("it listens"));
    }
    let closed = |mut stream: TcpStream| async move {
        let mut rest = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut rest))
            .await
            .expect("closed in time");
    };
    // There is no room for the last of them while the first still have time.
    for _ in 0..30 {
        closed(strangers.pop().expect("one of them")).await;
    }
    let still = strangers[0].try_read(&mut [0; 1]);
    assert_eq!(still.expect_err("open").kind(), ErrorKind::WouldBlock);
    // What is no TLS.
    let mut rude = strangers.remove(0);
    rude.write_all(&[0xFF; 4096]).await.expect("sent");
    closed(rude).await;
    for stranger in strangers {
        closed(stranger).await;
    }
    let mut follower = Follower::new();
    let hearing = follower.hear(reader.found(), None);
    assert_eq!(follower.said().await, "lost Began one 7");
    hearing.abort();
}

#[tokio::test]
async fn no_more_follow_than_may() {
    let reader = Reader::start_for(3, FeedBounds::default()).await;
    let mut there = Vec::new();
    for _ in 0..3 {
        there.push(Slow::connect(&reader.found()).await);
    }
    let full = |refused: &Result<Answer, Ended>| {
        matches!(refused, Ok(Answer::Refused { why: Refusal::Full }))
    };
    let mut late = Slow::greet(&reader.found(), "").await;
    let refused = late.next().await;
    assert!(full(&refused), "{refused:?}");
    assert!(late.next().await.is_err(), "and that was all");
    // Whoever goes makes room.
    drop(there.pop());
    let comes = async {
        loop {
            let mut next = Slow::greet(&reader.found(), "").await;
            let answer = next.next().await;
            if !full(&answer) {
                return answer;
            }
        }
    };
    let answer = timeout(LONG, comes).await.expect("in time");
    assert!(matches!(answer, Ok(Answer::Welcome { .. })), "{answer:?}");
}

/// A greeting is short; nobody makes room for a long one.
#[tokio::test]
async fn nobody_listens_to_long_speeches() {
    let reader = Reader::start(FeedBounds::default()).await;
    let mut short = Slow::greet(&reader.found(), &" ".repeat(100)).await;
    let welcome = short.next().await;
    assert!(matches!(welcome, Ok(Answer::Welcome { .. })), "{welcome:?}");
    let mut long = Slow::greet(&reader.found(), &" ".repeat(2000)).await;
    let cut = long.next().await;
    assert!(matches!(cut, Err(Ended::Lost(_))), "{cut:?}");
}

/// It hears all that there is, and gives no sign of life.
#[tokio::test]
async fn who_says_nothing_is_cut() {
    let reader = Reader::start(FeedBounds::default()).await;
    let mut silent = Slow::connect(&reader.found()).await;
    let heard = async {
        while let Ok(answer) = silent.next().await {
            assert!(matches!(answer, Answer::Alive { .. }), "{answer:?}");
        }
    };
    timeout(LONG, heard).await.expect("cut in time");
}

/// It gives signs of life, and takes nothing.
#[tokio::test]
async fn who_takes_nothing_is_cut() {
    let bounds = FeedBounds {
        commits: 16,
        bytes: 1 << 20,
    };
    let reader = Reader::start(bounds).await;
    let deaf = tokio::spawn(Slow::connect(&reader.found()).await.live());
    // More than fits into any buffer on the way.
    for number in 1..=600 {
        let mut large = commit(number);
        large.messages = vec!["x".repeat(10_000).into()];
        reader.feed.tell(large);
        tokio::task::yield_now().await;
    }
    timeout(LONG, deaf)
        .await
        .expect("cut in time")
        .expect("no panic");
}

/// A subscriber that greets and then reads only when it is told to.
struct Slow(TlsStream<TcpStream>);

impl Slow {
    async fn connect(found: &Found) -> Self {
        let mut stream = Self::greet(found, "").await;
        let welcome = frame::read(&mut stream.0, ANSWER_BYTES).await;
        assert!(matches!(welcome, Ok(Answer::Welcome { .. })), "{welcome:?}");
        stream
    }

    /// Says who he is, and something behind it.
    async fn greet(found: &Found, behind: &str) -> Self {
        let config = keys::client(found.pin).expect("TLS");
        let name = ServerName::try_from(keys::name_of(&found.pin)).expect("a name");
        // With little room on the way: it shows soon that nobody reads.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let address = found.address.parse().expect("an address");
        let stream = socket.connect(address).await.expect("it listens");
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await.expect("TLS");
        let hello = Question::Hello {
            protocol: PROTOCOL,
            secret: keys::hex(&found.secret),
            resume: None,
        };
        let hello = serde_json::to_string(&hello).expect("JSON") + behind;
        let length = u32::try_from(hello.len()).expect("a length");
        stream.write_u32(length).await.expect("sent");
        stream.write_all(hello.as_bytes()).await.expect("sent");
        Self(stream)
    }

    /// What comes next, or how it ended.
    async fn next(&mut self) -> Result<Answer, Ended> {
        let next = timeout(LONG, frame::read(&mut self.0, ANSWER_BYTES)).await;
        next.expect("in time")
    }

    /// Says that it is there, until that can't be said any more.
    async fn live(mut self) {
        let mut alive = Vec::new();
        assert!(frame::write(&mut alive, &Question::Alive));
        while self.0.write_all(&alive).await.is_ok() && self.0.flush().await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Reads until it is told that something is missing.
    async fn lost_its_place(&mut self) -> bool {
        loop {
            match self.next().await {
                Ok(Answer::Lost { why, .. }) => return why == Why::Lagged,
                Ok(_) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}
