//! `rolegate serve worker` as a process that sends jobs to functions: one that answers, and one that was
//! made for the peer and calls back, to a receiver that is another process.

use std::process::Stdio;
use std::sync::Arc;

use rolegate_pg::cluster::Source;
use rolegate_testkit::{Asked, HttpEndpoint, Reply};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::callbacks::{serve as serve_callbacks, stop};
use crate::place::{PATIENCE, Place, program};

/// As the peer's documentation has it: take the job over, do it, POST to the URL that came with it,
/// with the signature that came with it.
async fn made_for_the_peer() -> HttpEndpoint {
    let client = reqwest::Client::new();
    HttpEndpoint::start(move |asked: Asked| {
        let client = client.clone();
        async move {
            let job: Value = serde_json::from_slice(&asked.body).expect("JSON");
            let signature = asked.header("x-awa-signature")[0].to_owned();
            let done = json!({"payload": {"to": job["args"]["to"], "sent": true}});
            let url = job["callback_url"].as_str().expect("a URL").to_owned();
            let call = client
                .post(url)
                .header("X-Awa-Signature", signature)
                .json(&done);
            tokio::spawn(async move { call.send().await });
            Reply::of(202, "{\"accepted\": true}")
        }
    })
    .await
    .expect("it listens")
}

/// TLS in front of an endpoint, with a certificate for `localhost` that is its own authority; the
/// certificate, and the port.
async fn encrypted(endpoint: &HttpEndpoint) -> (String, u16) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let (port, address) = (
        listener.local_addr().expect("an address").port(),
        endpoint.address(),
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us hangs up.
                let Ok(mut outside) = acceptor.accept(stream).await else {
                    return;
                };
                let mut inside = TcpStream::connect(address).await.expect("it listens");
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    (made.cert.pem(), port)
}

/// Starts a worker, and waits until it is ready; the task gives all that it logs.
async fn work(place: &Place, section: &str, proxy: &str) -> (Child, JoinHandle<String>) {
    let file = place.path("worker.toml");
    let text = format!(
        "[log]\nlevel = \"debug\"\n[metrics]\nbind = \"127.0.0.1:0\"\n{}\n{section}",
        place.database()
    );
    std::fs::write(&file, text).expect("our directory");
    let arguments = ["serve", "worker", "--config", &file].map(str::to_owned);
    let mut command = program(&arguments);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, proxy);
    }
    let mut child = command
        .env("AWA_CALLBACK_HMAC_SECRET", "07".repeat(32))
        .env("AWA_CALLBACK_PATH_PREFIX", "/hooks")
        .env("SSL_CERT_FILE", place.path("authorities.pem"))
        .env(
            "ROLEGATE_WORKER__HTTP__QUICK__HEADERS__AUTHORIZATION",
            "Bearer hunter2",
        )
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = String::new();
    let ready = async {
        while let Some(line) = log.next_line().await.expect("text") {
            said.push_str(&line);
            if line.contains("\"ready\"") {
                return said;
            }
        }
        panic!("it ended: {said}");
    };
    let mut said = tokio::time::timeout(PATIENCE, ready).await.expect("ready");
    let rest = tokio::spawn(async move {
        while let Ok(Some(line)) = log.next_line().await {
            said.push_str(&line);
        }
        said
    });
    (child, rest)
}

/// Runs it where it must not start; what it says.
async fn refused(place: &Place, section: &str) -> String {
    let file = place.path("worker-refused.toml");
    let text = format!(
        "[metrics]\nbind = \"127.0.0.1:0\"\n{}\n{section}",
        place.database()
    );
    std::fs::write(&file, text).expect("our directory");
    let mut said = Vec::new();
    for arguments in [&["serve", "worker"][..], &["config", "check"]] {
        let mut arguments: Vec<_> = arguments.iter().map(|&one| one.to_owned()).collect();
        arguments.extend(["--config".to_owned(), file.clone()]);
        let run = program(&arguments).stderr(Stdio::piped()).output();
        let output = tokio::time::timeout(PATIENCE, run).await.expect("it ends");
        let output = output.expect("it runs");
        assert!(!output.status.success());
        said.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    said.concat()
}

async fn ended(place: &Place, id: i64) -> (String, Value) {
    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let superuser = superuser.expect("the superuser logs in");
    for _ in 0..3000 {
        let sql = "select state, output from rolegate.job($1)";
        let row = superuser.query_one(sql, &[&id]).await.expect("a job");
        let state: String = row.get(0);
        if ["completed", "failed"].contains(&&*state) {
            return (state, row.get::<_, Option<Value>>(1).unwrap_or_default());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("job {id} does not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_sent_to_functions_by_a_process_of_their_own() {
    let place = Place::start(Source::Wheel).await;
    let there = "[worker.http.a]\nurl = \"https://functions.example/\"\n";
    let said = refused(&place, &format!("{there}mode = \"async\"")).await;
    assert_eq!(said.matches("no callback_base_url").count(), 2, "{said}");
    let rules = "mode = \"async\"\ncallback_base_url = \"https://a.example\"\n\
                 callback_rules = { filter = \"true && order == 1\" }";
    let said = refused(&place, &format!("{there}{rules}")).await;
    let wrong = "callback_rules: `filter`, line 1, column 9: there is no variable `order`";
    assert_eq!(said.matches(wrong).count(), 2, "{said}");
    let here = "[worker.http.a]\nurl = \"http://127.0.0.1:9/?key=hunter2\"\n";
    let said = refused(&place, here).await;
    assert_eq!(said.matches("loopback").count(), 2, "{said}");
    assert!(!said.contains("hunter2"), "{said}");

    let peer = made_for_the_peer().await;
    let quick = HttpEndpoint::always(Reply::of(200, "{\"n\": 1.10}"))
        .await
        .expect("it listens");
    let proxy = HttpEndpoint::always(Reply::of(200, "{}"))
        .await
        .expect("it listens");
    let (trusted, trusted_port) = encrypted(&quick).await;
    let strange = HttpEndpoint::always(Reply::of(200, "{}"))
        .await
        .expect("it listens");
    let (_, strange_port) = encrypted(&strange).await;
    std::fs::write(place.path("authorities.pem"), trusted).expect("our directory");
    let (receiver, address, _) = serve_callbacks(&place, "legacy_signatures = true").await;
    let section = format!(
        "[worker]\ncallback_base_url = \"http://{address}\"\n\
         [worker.outbound]\nallow_networks = [\"127.0.0.1\", \"::1\"]\n\
         [worker.http.send_email]\nurl = \"{}\"\nmode = \"async\"\n\
         signing_key = \"default\"\nlegacy_signature = true\n\
         [worker.http.judged]\nurl = \"{}\"\nmode = \"async\"\n\
         signing_key = \"default\"\nlegacy_signature = true\n\
         callback_rules = {{ filter = \"payload.sent\", transform = \"[payload.to]\" }}\n\
         [worker.http.quick]\nurl = \"{}\"\n\
         [worker.http.trusted]\nurl = \"https://localhost:{trusted_port}/\"\n\
         [worker.http.strange]\nurl = \"https://localhost:{strange_port}/\"\n",
        peer.url("/send?key=hunter2"),
        peer.url("/judged"),
        quick.url("/quick?key=hunter2"),
    );
    let (worker, log) = work(&place, &section, &proxy.url("/")).await;

    let superuser = place.cluster.endpoint().connect("postgres", "mine").await;
    let superuser = superuser.expect("the superuser logs in");
    let sql = "select rolegate.enqueue('send_email', '{\"to\": \"a@b.c\"}'), rolegate.enqueue('quick'), \
        rolegate.enqueue('trusted'), rolegate.enqueue('strange', max_attempts => 1), \
        rolegate.enqueue('judged', '{\"to\": \"b@c.d\"}')";
    let row = superuser.query_one(sql, &[]).await.expect("jobs");
    let output = json!({"to": "a@b.c", "sent": true});
    assert_eq!(
        ended(&place, row.get(0)).await,
        ("completed".to_owned(), output)
    );
    let (state, output) = ended(&place, row.get(1)).await;
    assert_eq!(
        (&*state, output.to_string()),
        ("completed", "{\"n\":1.1}".to_owned())
    );

    // What the worker was configured with, the receiver judges by.
    let (state, output) = ended(&place, row.get(4)).await;
    assert_eq!((&*state, output), ("completed", json!(["b@c.d"])));
    assert_eq!(ended(&place, row.get(2)).await.0, "completed");
    assert_eq!(ended(&place, row.get(3)).await.0, "failed");
    assert!(
        strange.asked().is_empty(),
        "nothing goes to whom no authority vouches for"
    );

    let asked = peer.asked();
    let asked = asked.iter().find(|asked| asked.line.contains("/send"));
    let asked = asked.expect("it was asked");
    assert_eq!(asked.line, "POST /send?key=hunter2 HTTP/1.1");
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    let id = body["callback_id"].as_str().expect("an id");
    let url = format!("http://{address}/hooks/{id}/complete");
    assert_eq!(body["callback_url"], url);
    let name = format!("app-{}", row.get::<_, i64>(0));
    assert_eq!(asked.header("idempotency-key"), [name]);
    assert_eq!(quick.asked()[0].header("authorization"), ["Bearer hunter2"]);
    assert!(
        proxy.asked().is_empty(),
        "the environment's proxy is not asked"
    );

    stop(worker).await;
    stop(receiver).await;
    let said = log.await.expect("the log");
    assert!(said.contains("function_answered"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    place.stop().await;
}
