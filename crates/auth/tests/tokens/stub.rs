//! An issuer's key endpoint, played here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What the endpoint answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Keys(Vec<Value>),
    /// A status and a `Location`.
    Redirect(String),
    Status(u16),
    Body(String),
    /// A body that never ends, without a length.
    Endless,
    /// Nothing.
    Hang,
}

/// A running endpoint.
pub(crate) struct Stub {
    pub(crate) url: String,
    answer: Arc<Mutex<Answer>>,
    hits: Arc<AtomicUsize>,
    hit: Arc<Notify>,
}

impl Stub {
    pub(crate) async fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}/jwks", listener.local_addr().expect("bound"));
        let stub = Self {
            url,
            answer: Arc::new(Mutex::new(answer)),
            hits: Arc::default(),
            hit: Arc::default(),
        };
        let (answer, hits, hit) = (stub.answer.clone(), stub.hits.clone(), stub.hit.clone());
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else {
                    return;
                };
                hits.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().expect("not poisoned").clone();
                let hit = hit.clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    hit.notify_one();
                    respond(&mut stream, answer).await;
                });
            }
        });
        stub
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("not poisoned") = answer;
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// Waits for a request.
    pub(crate) async fn hit(&self) {
        self.hit.notified().await;
    }
}

async fn respond(stream: &mut tokio::net::TcpStream, answer: Answer) {
    let (status, extra, body) = match answer {
        Answer::Keys(keys) => (200, String::new(), json!({ "keys": keys }).to_string()),
        Answer::Body(body) => (200, String::new(), body),
        Answer::Status(status) => (status, String::new(), "{}".to_owned()),
        Answer::Redirect(to) => (302, format!("location: {to}\r\n"), "{}".to_owned()),
        Answer::Hang => {
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
        Answer::Endless => {
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[";
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b' '; 1024]).await.is_ok() {}
            return;
        }
    };
    let text = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\n{extra}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes()).await;
}
