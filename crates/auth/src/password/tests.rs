//! Logins against a server that is played here, message by message.

use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rolegate_model::FixedClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::encoding::sha256;

const PASSWORD: &str = "correct horse";
const ITERATIONS: u32 = 4096;

/// What the played server does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Play {
    /// A whole exchange, with this end.
    Scram(End),
    /// `AuthenticationOk` at once: `trust`.
    Trust,
    Cleartext,
    Md5,
    /// Only a mechanism we don't know.
    OtherMechanism,
    /// `AuthenticationOk` after the client's first SCRAM message.
    OkInsteadOfContinue,
    /// `AuthenticationOk` in place of the server's proof.
    OkInsteadOfFinal,
    /// A server that does not know the password: a made-up proof.
    ForgedProof,
    /// A message of 3 GiB.
    HugeMessage,
    /// Nothing at all.
    Silence,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Ready,
    /// NOLOGIN, no CONNECT: said only after authentication.
    RefusedLate,
    /// The server's proof, and then nothing that says the role is in.
    NoOk,
}

struct Server {
    port: u16,
    /// What the client sent: the start-up parameters, then its messages.
    task: JoinHandle<Vec<Vec<u8>>>,
}

async fn serve(play: Play) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut client = Client {
            stream,
            received: Vec::new(),
        };
        client.play(play).await;
        client.received
    });
    Server { port, task }
}

struct Client {
    stream: TcpStream,
    received: Vec<Vec<u8>>,
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn authentication(kind: u32, body: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes(), body].concat())
}

fn error(code: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0C{code}\0Mrefused\0\0").as_bytes())
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        // The client may be gone already, which is what some tests want.
        let _ = self.stream.write_all(bytes).await;
    }

    async fn start_up(&mut self) {
        let length = self.stream.read_u32().await.expect("a length") as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await.expect("a body");
        self.received.push(body);
    }

    /// The next message's body, if the client sends one.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u32().await.ok()? as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await.ok()?;
        self.received.push(body.clone());
        Some(body)
    }

    async fn play(&mut self, play: Play) {
        self.start_up().await;
        match play {
            Play::Trust => self.send(&authentication(0, &[])).await,
            Play::Cleartext => self.send(&authentication(3, &[])).await,
            Play::Md5 => self.send(&authentication(5, &[1, 2, 3, 4])).await,
            Play::OtherMechanism => self.send(&authentication(10, b"OAUTHBEARER\0\0")).await,
            Play::HugeMessage => self.send(&[b'R', 0xc0, 0, 0, 0, 0]).await,
            Play::Silence => {}
            Play::Scram(_)
            | Play::OkInsteadOfContinue
            | Play::OkInsteadOfFinal
            | Play::ForgedProof => self.scram(play).await,
        }
        // Until the client hangs up, so that it decides and not a closed socket.
        while self.receive().await.is_some() {}
    }

    async fn scram(&mut self, play: Play) {
        self.send(&authentication(
            10,
            b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
        ))
        .await;
        let initial = self.receive().await.expect("the client's first message");
        if play == Play::OkInsteadOfContinue {
            return self.send(&authentication(0, &[])).await;
        }
        let start = initial
            .iter()
            .position(|byte| *byte == 0)
            .expect("a mechanism")
            + 5;
        let first = String::from_utf8(initial[start..].to_vec()).expect("text");
        let bare = first.strip_prefix("n,,").expect("no channel binding");
        let nonce = bare.strip_prefix("n=,r=").expect("a nonce");
        let salt = STANDARD.encode(b"salt");
        let server_first = format!("r={nonce}server,s={salt},i={ITERATIONS}");
        self.send(&authentication(11, server_first.as_bytes()))
            .await;

        let last = self.receive().await.expect("the client's proof");
        if play == Play::OkInsteadOfFinal {
            return self.send(&authentication(0, &[])).await;
        }
        let last = String::from_utf8(last).expect("text");
        let (without_proof, proof) = last.split_once(",p=").expect("a proof");
        let signed = format!("{bare},{server_first},{without_proof}");
        let mut salted = [0; 32];
        let iterations = ITERATIONS.try_into().expect("not 0");
        let password = PASSWORD.as_bytes();
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            b"salt",
            password,
            &mut salted,
        );
        let client_key = mac(&salted, b"Client Key");
        let mask = mac(&sha256(&client_key), signed.as_bytes());
        let expected: Vec<u8> = client_key.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        if play != Play::ForgedProof && STANDARD.decode(proof).expect("base64") != expected {
            return self.send(&error("28P01")).await;
        }
        let signature = match play {
            Play::ForgedProof => vec![7; 32],
            _ => mac(&mac(&salted, b"Server Key"), signed.as_bytes()),
        };
        let proof = format!("v={}", STANDARD.encode(signature));
        self.send(&authentication(12, proof.as_bytes())).await;
        match play {
            Play::Scram(End::NoOk) => self.send(&message(b'Z', b"I")).await,
            Play::Scram(End::RefusedLate) => {
                self.send(&authentication(0, &[])).await;
                self.send(&error("28000")).await;
            }
            _ => {
                self.send(&authentication(0, &[])).await;
                self.send(&message(b'S', b"server_version\x0018\0")).await;
                self.send(&message(b'Z', b"I")).await;
            }
        }
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
        .as_ref()
        .to_vec()
}

fn password_check(port: u16, limits: LoginLimits) -> PasswordCheck {
    let target = PasswordTarget {
        host: "127.0.0.1".into(),
        port,
        database: "app".into(),
        tls: None,
    };
    let now = Timestamp::from_second(1_800_000_000).expect("in range");
    PasswordCheck::new(target, limits, Arc::new(FixedClock::new(now)))
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

fn peer() -> IpAddr {
    IpAddr::from([192, 0, 2, 1])
}

/// The outcome, and what the server received.
async fn log_in(
    play: Play,
    login: &str,
    password: &str,
) -> (Result<RoleName, LoginError>, Vec<Vec<u8>>) {
    let server = serve(play).await;
    let check = password_check(server.port, LoginLimits::default());
    let outcome = check.check(login, &secret(password), peer()).await;
    (outcome, server.task.await.expect("the server ran"))
}

#[tokio::test]
async fn a_whole_exchange_proves_the_password() {
    let (outcome, received) = log_in(Play::Scram(End::Ready), "alice", PASSWORD).await;
    assert_eq!(outcome.expect("the right password").as_str(), "alice");
    assert!(received[0].starts_with(b"\0\x03\0\0user\0alice\0database\0app\0"));
    assert_eq!(received.last().map(Vec::len), Some(0), "goodbye");
    let all = received.concat();
    assert!(
        !all.windows(PASSWORD.len())
            .any(|part| part == PASSWORD.as_bytes())
    );
}

#[tokio::test]
async fn every_failure_has_the_same_code() {
    for (play, password) in [
        (Play::Scram(End::Ready), "wrong"),
        (Play::Scram(End::RefusedLate), PASSWORD),
        (Play::Scram(End::NoOk), PASSWORD),
        (Play::OtherMechanism, PASSWORD),
        (Play::ForgedProof, PASSWORD),
        (Play::HugeMessage, PASSWORD),
        (Play::Trust, PASSWORD),
        (Play::Cleartext, PASSWORD),
        (Play::Md5, PASSWORD),
        (Play::OkInsteadOfContinue, PASSWORD),
        (Play::OkInsteadOfFinal, PASSWORD),
    ] {
        let (outcome, _) = log_in(play, "alice", password).await;
        let error = outcome.expect_err("refused");
        assert_eq!(error.code(), ErrorCode::LoginFailed, "{play:?}");
        assert_eq!(error.retry_after(), None, "{play:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_ask_for_scram_is_a_finding_and_learns_nothing() {
    for play in [
        Play::Trust,
        Play::Cleartext,
        Play::Md5,
        Play::OkInsteadOfContinue,
        Play::OkInsteadOfFinal,
    ] {
        let (outcome, received) = log_in(play, "alice", PASSWORD).await;
        assert!(outcome.expect_err("refused").is_finding(), "{play:?}");
        let all = received.concat();
        assert!(
            !all.windows(PASSWORD.len())
                .any(|part| part == PASSWORD.as_bytes()),
            "{play:?}"
        );
    }
    let (outcome, _) = log_in(Play::Scram(End::Ready), "alice", "wrong").await;
    let error = outcome.expect_err("refused");
    assert!(!error.is_finding());
    let LoginError::Exchange(ExchangeError::Refused(code)) = error else {
        panic!("{error:?}")
    };
    assert_eq!(code, "28P01");
}

#[tokio::test]
async fn a_password_is_a_password_and_no_connection_string() {
    let attacker = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = attacker.local_addr().expect("bound").port();
    let password = format!("x host=127.0.0.1 port={port} user=postgres");
    let (outcome, received) = log_in(Play::Scram(End::Ready), "alice", &password).await;
    let error = outcome.expect_err("the wrong password");
    assert!(
        matches!(error, LoginError::Exchange(ExchangeError::Refused(_))),
        "{error:?}"
    );
    assert!(received[0].windows(11).any(|part| part == b"user\0alice\0"));

    let login = format!("alice host=127.0.0.1 port={port}");
    let (outcome, received) = log_in(Play::Scram(End::Ready), &login, PASSWORD).await;
    assert_eq!(
        outcome
            .expect("this server knows one password for all")
            .as_str(),
        login
    );
    assert!(
        received[0]
            .windows(login.len())
            .any(|part| part == login.as_bytes())
    );

    // Nobody ever connected there.
    let mut accept = Box::pin(attacker.accept());
    let waker = std::task::Waker::noop();
    let polled =
        std::future::Future::poll(accept.as_mut(), &mut std::task::Context::from_waker(waker));
    assert!(polled.is_pending());
}

#[tokio::test]
async fn what_cannot_be_right_reaches_no_server() {
    // Port 1 of the loopback interface: a connection would fail with another error.
    let check = password_check(1, LoginLimits::default());
    for login in [
        "",
        "none",
        "pg_monitor",
        "a\0b",
        "a\0database\0postgres",
        &"a".repeat(64),
    ] {
        let error = check
            .check(login, &secret(PASSWORD), peer())
            .await
            .expect_err(login);
        assert!(
            matches!(error, LoginError::Login(_)),
            "{login:?}: {error:?}"
        );
        assert_eq!(error.code(), ErrorCode::LoginFailed);
    }
    for password in ["", "a\0b", &"a".repeat(MAX_PASSWORD_BYTES + 1)] {
        let error = check
            .check("alice", &secret(password), peer())
            .await
            .expect_err("refused");
        assert!(matches!(error, LoginError::Password), "{error:?}");
        assert_eq!(error.code(), ErrorCode::LoginFailed);
    }
}

#[tokio::test]
async fn no_room_is_made_for_a_huge_message() {
    let (outcome, _) = log_in(Play::HugeMessage, "alice", PASSWORD).await;
    let error = outcome.expect_err("refused");
    assert!(
        matches!(error, LoginError::Exchange(ExchangeError::Protocol)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let server = serve(Play::Silence).await;
    let limits = LoginLimits {
        deadline: Duration::from_millis(50),
        ..LoginLimits::default()
    };
    let check = password_check(server.port, limits);
    let error = check
        .check("alice", &secret(PASSWORD), peer())
        .await
        .expect_err("silence");
    assert!(matches!(error, LoginError::Deadline), "{error:?}");
    assert_eq!(error.code(), ErrorCode::LoginFailed);
    assert_eq!(
        server.task.await.expect("the connection was closed").len(),
        1
    );
}

#[tokio::test]
async fn over_the_limit_nothing_is_asked() {
    let check = password_check(1, LoginLimits::default());
    let mut throttled = None;
    for _ in 0..50 {
        let error = check
            .check("alice", &secret(PASSWORD), peer())
            .await
            .expect_err("refused");
        if error.code() == ErrorCode::LoginThrottled {
            throttled = Some(error);
            break;
        }
        assert!(
            matches!(error, LoginError::Exchange(ExchangeError::Io(_))),
            "{error:?}"
        );
    }
    let throttled = throttled.expect("the limit");
    assert!(throttled.retry_after() >= Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn without_a_free_connection_the_client_is_told_to_wait() {
    let limits = LoginLimits {
        connections: 1,
        deadline: Duration::from_millis(50),
        ..LoginLimits::default()
    };
    let check = password_check(1, limits);
    let _held = check.connections.acquire().await.expect("free");
    let error = check
        .check("alice", &secret(PASSWORD), peer())
        .await
        .expect_err("busy");
    assert_eq!(error.code(), ErrorCode::LoginThrottled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
}
