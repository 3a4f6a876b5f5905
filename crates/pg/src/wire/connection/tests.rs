//! What a server may send is anything; what is held of it is bounded.

use postgres_protocol::message::backend::DataRowBody;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::wire::address::{Address, Login};
use crate::wire::startup::Accepted;

/// The bound of the tests, small enough that a message beyond it is soon made.
const MOST: usize = 4096;
/// A buffer grows to twice of what it held, or to what is needed.
const MOST_HELD: usize = 2 * (MOST + READ_CHUNK_BYTES);

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A connection to a server that sends `bytes` and hangs up.
fn connection(bytes: Vec<u8>) -> Connection {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    tokio::spawn(async move {
        let _ = theirs.write_all(&bytes).await;
    });
    Connection::new(Stream::Unix(ours))
}

/// Everything that is read of a message somewhere.
fn read(message: &Message) {
    match message {
        Message::ErrorResponse(body) => {
            let _ = DbError::from_body(body).to_string();
        }
        Message::DataRow(body) => read_row(body),
        Message::ReadyForQuery(body) => {
            let _ = body.status();
        }
        Message::AuthenticationSasl(body) => {
            use fallible_iterator::FallibleIterator as _;
            let _ = body.mechanisms().count();
        }
        _ => {}
    }
}

fn read_row(body: &DataRowBody) {
    use fallible_iterator::FallibleIterator as _;
    let buffer = body.buffer_bytes();
    let columns: io::Result<Vec<_>> = body
        .ranges()
        .map(|range| Ok(range.map(|range| buffer.slice(range))))
        .collect();
    let _ = columns;
}

/// A message with a tag that exists, more often than not, and a length that may be wrong.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![
        8 => prop::sample::select(&b"RKSZTDCEIN123nstAGHWdcv"[..]),
        1 => any::<u8>(),
    ];
    let length = prop_oneof![
        8 => Just(None),
        1 => any::<u32>().prop_map(Some),
        1 => prop::sample::select(vec![0, 1, 3, 4, 5, 4095, 4096, 4097, i32::MAX as u32, u32::MAX])
            .prop_map(Some),
    ];
    let body = prop_oneof![8 => vec(any::<u8>(), 0..64), 1 => vec(0_u8..4, 0..6000)];
    (tag, length, body).prop_map(|(tag, length, body)| {
        let length = length.unwrap_or_else(|| u32::try_from(body.len() + 4).expect("short"));
        [&[tag], &length.to_be_bytes()[..], &body].concat()
    })
}

fn stream_of_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(message(), 0..12).prop_map(|messages| messages.concat()),
        1 => vec(any::<u8>(), 0..512),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_a_panic_or_a_large_buffer(bytes in stream_of_bytes(), skips in any::<bool>()) {
        let sent = bytes.len();
        runtime().block_on(async {
            let mut connection = connection(bytes);
            let mut seen = 0;
            loop {
                let next = if skips {
                    connection.buffered_within(MOST)
                } else {
                    connection.whole(MOST).map(|message| message.map(Incoming::Message))
                };
                assert!(connection.incoming.capacity() <= MOST_HELD, "{}", connection.incoming.capacity());
                match next {
                    Ok(Some(Incoming::Message(message))) => read(&message),
                    Ok(Some(Incoming::TooLong(_))) => assert!(skips),
                    Ok(None) => if connection.fill().await.is_err() { break },
                    Err(_) => break,
                }
                seen += 1;
                // A message has five bytes, and each piece that arrives is looked at once.
                assert!(seen <= 2 * sent + 2, "it does not come to an end");
            }
        });
    }

    /// The same bytes to a client that logs in: it says no, or yes, and nothing else.
    #[test]
    fn no_server_makes_a_login_panic(bytes in stream_of_bytes(), polite in any::<bool>()) {
        runtime().block_on(async {
            let directory = tempfile::tempdir().expect("a directory");
            let listener = UnixListener::bind(directory.path().join(".s.PGSQL.1")).expect("binds");
            let start = if polite {
                b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0\0".to_vec()
            } else {
                Vec::new()
            };
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("accepts");
                let _ = stream.write_all(&[start, bytes].concat()).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
            let address = Address::Unix { directory: directory.path().to_owned(), port: 1 };
            let login = Login { user: "ann".to_owned(), password: Some("secret".to_owned().into()) };
            let opened = Connection::open_with(address, None, "app", &login, &[], Accepted::OnlyScram);
            let opened = timeout(Duration::from_secs(20), opened).await.expect("an answer");
            prop_assert!(opened.is_err(), "nobody proved that he knows the password");
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_length_that_cannot_be_is_refused_before_room_is_made() {
    for length in [0_u32, 3, 1 << 30, u32::MAX] {
        let mut connection = connection([&b"S"[..], &length.to_be_bytes(), &[0; 20]].concat());
        let outcome = connection.receive().await;
        let kind = outcome.map(|_| ()).expect_err("refused").kind();
        assert!(
            matches!(
                kind,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ),
            "{length}: {kind:?}"
        );
        assert!(connection.incoming.capacity() <= 2 * READ_CHUNK_BYTES);
    }
}

#[tokio::test]
async fn what_follows_a_message_that_is_too_long_is_read() {
    let long = [&b"D"[..], &20_004_u32.to_be_bytes(), &vec![7; 20_000]].concat();
    let ready = b"Z\0\0\0\x05I";
    let mut connection = connection([&long[..], ready].concat());
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match connection.buffered_within(MOST).expect("well formed") {
            Some(Incoming::TooLong(tag)) => seen.push(tag),
            Some(Incoming::Message(Message::ReadyForQuery(body))) => seen.push(body.status()),
            Some(Incoming::Message(_)) => panic!("another message"),
            None => connection.fill().await.expect("more"),
        }
        assert!(connection.incoming.capacity() <= MOST_HELD);
    }
    assert_eq!(seen, b"DI");
}

/// A server that answers before it reads: the answers wait in its own buffers, not in ours.
#[tokio::test]
async fn a_server_that_only_talks_fills_no_memory_while_a_batch_is_written() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let (_unread, mut talking) = theirs.into_split();
    let talk = tokio::spawn(async move {
        let piece = vec![0; 1 << 20];
        let mut sent = 0;
        while talking.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
        sent
    });
    let mut connection = Connection::new(Stream::Unix(ours));
    let batch = Bytes::from(vec![0; 8 << 20]);
    let sent = timeout(Duration::from_secs(5), connection.send(batch)).await;
    assert!(sent.is_err(), "nobody reads it");
    assert!(
        connection.incoming.len() >= READ_AHEAD_BYTES,
        "it stopped too early"
    );
    assert!(connection.incoming.capacity() <= 3 * READ_AHEAD_BYTES);
    drop(connection);
    assert!(talk.await.expect("it ends") <= 2 * READ_AHEAD_BYTES);
}

#[tokio::test]
async fn of_a_long_message_of_a_stream_the_beginning_is_kept() {
    let copied = |content: &[u8]| {
        let length = u32::try_from(content.len() + 4).expect("short");
        [&b"d"[..], &length.to_be_bytes(), content].concat()
    };
    let both = b"W\0\0\0\x07\0\0\0";
    let long = copied(&[&b"beginning"[..], &vec![7; 20_000]].concat());
    let bytes = [&both[..], &long, &copied(b"short"), b"Z\0\0\0\x05I"].concat();
    let mut connection = connection(bytes);
    while !connection.take_copy_both() {
        connection.fill().await.expect("more");
    }
    let mut seen = Vec::new();
    loop {
        match connection.piece_within(MOST, 9).expect("well formed") {
            Some(Piece::Beginning(bytes)) => seen.push(bytes),
            Some(Piece::Message(Message::CopyData(body))) => seen.push(body.into_bytes()),
            Some(Piece::Message(Message::ReadyForQuery(_))) => break,
            Some(Piece::Message(_)) => panic!("another message"),
            None => connection.fill().await.expect("more"),
        }
        assert!(connection.incoming.capacity() <= MOST_HELD);
    }
    assert_eq!(seen, ["beginning", "short"]);
    // Of anything but what is copied no beginning is of use.
    let long = [&b"D"[..], &20_004_u32.to_be_bytes(), &vec![7; 20_000]].concat();
    let mut connection = self::connection(long);
    let refused = loop {
        match connection.piece_within(MOST, 9) {
            Ok(None) => connection.fill().await.expect("more"),
            Ok(Some(_)) => panic!("a message"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
}
