//! A standby that decodes, as it is configured, looked at and left.

use nix::sys::signal::Signal;
use rolegate_pg::cluster::Source;
use rolegate_testkit::standby::Standby;

use crate::place::{PATIENCE, Place, program};
use crate::relay::{Member, publish};

/// Exit code and output of a command for the change stream.
async fn replication(arguments: &[&str]) -> (Option<i32>, String) {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    let arguments: Vec<String> = std::iter::once("replication".to_owned())
        .chain(arguments)
        .collect();
    let output = program(&arguments).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.expect("it ends").expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_configured_looked_at_and_left() {
    let mut place = Place::start(Source::Wheel).await;
    publish(&place).await;
    let directory = place.path("");
    let standby = Standby::behind(&mut place.cluster, directory.as_ref()).await;
    standby.set("hot_standby_feedback", "on").await;
    let sockets = standby.sockets();
    let socket = sockets.directory().display().to_string();
    let more = format!(
        "standby_url = \"postgresql://{}:{}/mine\"\n",
        socket.replace('/', "%2F"),
        sockets.port()
    );
    let member = Member::start_with(&place, &["replication"], &more).await;
    member.becomes("following").await;

    let primary = place.cluster.endpoint().url("postgres", "mine");
    let there = sockets.url("postgres", "mine");
    let both = ["--database", &primary, "--standby", &there];
    let (code, text) = replication(&[&["status"], &both[..]].concat()).await;
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "standby\tyes\n",
        "hot_standby_feedback\ton\n",
        "standby_late_bytes\t",
        "active\tyes\n",
        ", decoded on ",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    // Without it the slot is not seen, and who asks sees why.
    let (code, text) = replication(&["status", "--database", &primary]).await;
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("slot\tnone\n") && text.contains(", decoded on "),
        "{text}"
    );

    let (code, text) = replication(&[&["drop"], &both[..]].concat()).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.ends_with("dropped the slot on the standby\n"),
        "{text}"
    );
    member.becomes("unready").await;
    let superuser = standby.superuser("mine").await;
    let slots = "select count(*) from pg_replication_slots";
    let slots = superuser.query_one(slots, &[]).await.expect("a row");
    assert_eq!(slots.get::<_, i64>(0), 0);
    member.ends(Signal::SIGTERM).await;
    drop(standby);
    place.stop().await;
}
