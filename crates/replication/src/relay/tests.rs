//! A relay and those who come to it, without a database.

mod bounds;
mod frames;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rolegate_pg::wire::Address;
use rolegate_testkit::fault_proxy::FaultProxy;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::follow::Found;
use super::hear::{Resume, hear, welcomed};
use super::message::{Answer, Place, Refusal};
use super::*;
use crate::commit::{Commit, Key, Keys, Touched};
use crate::epoch::Epoch;
use crate::feed::{Event, Feed, FeedBounds, Subscription, Why};
use crate::lsn::Lsn;
use crate::shape::{Identity, KeyColumn, Shape};
use crate::status::Status;
use crate::xid::Xid;

const LONG: Duration = Duration::from_secs(20);

pub(super) fn commit(number: u64) -> Commit {
    let shape = Shape::new(
        "api",
        "thing",
        Identity::Default,
        [KeyColumn {
            name: "id".into(),
            type_oid: 25,
            modifier: -1,
        }]
        .into(),
    );
    let key = |text: &str| Key([Some(text.into()), None].into());
    let touched = Touched {
        shape: Some(Arc::new(shape)),
        inserts: 1,
        updates: 2,
        deletes: number,
        truncated: number.is_multiple_of(2),
        redefined: number.is_multiple_of(3),
        keys: Keys::Exactly([key("\u{1}\"ä"), key(&number.to_string())].into()),
    };
    let other = Touched {
        keys: Keys::All,
        ..Touched::default()
    };
    Commit {
        commit_lsn: Lsn(number * 10),
        end_lsn: Lsn(number * 10 + 5),
        xid: Xid(u64::MAX - number),
        at: Timestamp::from_microsecond(1_700_000_000_123_456).expect("a time"),
        relations: BTreeMap::from([(16_384, touched), (u32::MAX, other)]),
        everything: number.is_multiple_of(5),
        messages: vec!["ddl 1".into()],
    }
}

/// A process that reads, and offers it.
struct Reader {
    feed: Feed,
    offer: Option<Offer>,
    stop: CancellationToken,
    _leading: crate::feed::Leading,
}

impl Reader {
    async fn start(bounds: FeedBounds) -> Self {
        Self::start_for(256, bounds).await
    }

    /// For so many followers at a time.
    async fn start_for(most: usize, bounds: FeedBounds) -> Self {
        let feed = Feed::new(bounds);
        let leading = feed.lead();
        feed.begins(&Epoch::new("one"), Lsn(7), Why::Began);
        feed.follows();
        let relay = Relay::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None)
            .await
            .expect("a free port");
        let offer = relay.offer(&"db".into(), &feed).expect("a key");
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&relay).serve_at_most(most, stop.clone()));
        Self {
            feed,
            offer: Some(offer),
            stop,
            _leading: leading,
        }
    }

    fn target(&self) -> Address {
        let address: SocketAddr = self.found().address.parse().expect("an address");
        Address::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }

    fn found(&self) -> Found {
        let offer = self.offer.as_ref().expect("an offer");
        Found {
            term: 1,
            protocol: PROTOCOL,
            address: offer.address().to_owned(),
            secret: offer.secret().to_vec(),
            pin: *offer.pin(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A process that hears.
struct Follower {
    feed: Feed,
    events: Subscription,
}

impl Follower {
    fn new() -> Self {
        let feed = Feed::default();
        Self {
            events: feed.subscribe(),
            feed,
        }
    }

    /// Hears until it ends; then says how, and where it was.
    fn hear(&self, found: Found, resume: Option<Resume>) -> JoinHandle<(Ended, Option<Resume>)> {
        let feed = self.feed.clone();
        tokio::spawn(async move {
            let relayed = feed.relayed().expect("it does not lead");
            let mut resume = resume;
            let ended = hear(&"db".into(), &found, &feed, &relayed, &mut resume).await;
            relayed.is_away();
            (ended.expect_err("it never just ends"), resume)
        })
    }

    async fn refused(&self, found: Found) -> Ended {
        let ended = timeout(LONG, self.hear(found, None)).await;
        ended.expect("in time").expect("no panic").0
    }

    async fn next(&mut self) -> Event {
        timeout(LONG, self.events.next()).await.expect("an event")
    }

    /// The next event that is not only about how far it is.
    async fn said(&mut self) -> String {
        loop {
            match self.next().await {
                Event::Commit(told) => return format!("commit {}", told.commit_lsn.0),
                Event::Lost(lost) => {
                    return format!("lost {:?} {} {}", lost.why, lost.epoch, lost.at.0);
                }
                Event::Passed(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn what_is_told_here_is_told_there() {
    let reader = Reader::start(FeedBounds::default()).await;
    let mut follower = Follower::new();
    let hearing = follower.hear(reader.found(), None);
    assert_eq!(follower.said().await, "lost Began one 7");
    assert_eq!(follower.feed.status(), Status::Relayed);
    assert_eq!(follower.feed.epoch(), Some(Epoch::new("one")));
    for number in 1..=20 {
        reader.feed.tell(commit(number));
        loop {
            match follower.next().await {
                Event::Commit(told) => {
                    assert_eq!(*told, commit(number));
                    break;
                }
                Event::Passed(_) => {}
                Event::Lost(lost) => panic!("{lost:?}"),
            }
        }
    }
    reader.feed.pass(Lsn(1000));
    timeout(LONG, follower.feed.wait_passed(Lsn(1000)))
        .await
        .expect("in time")
        .expect("it follows");
    reader
        .feed
        .begins(&Epoch::new("two"), Lsn(1001), Why::NewEpoch);
    assert_eq!(follower.said().await, "lost NewEpoch two 1001");
    assert_eq!(follower.feed.epoch(), Some(Epoch::new("two")));
    hearing.abort();
}

#[tokio::test]
async fn who_waits_there_is_heard_here() {
    let reader = Reader::start(FeedBounds::default()).await;
    let follower = Follower::new();
    let hearing = follower.hear(reader.found(), None);
    let questions = reader.offer.as_ref().expect("an offer");
    let asked = async {
        tokio::select! {
            never = questions.pass_on_questions() => match never {},
            _ = reader.feed.asked() => {}
        }
        reader.feed.pass(Lsn(500));
    };
    let waits = async {
        while follower.feed.wait_passed(Lsn(500)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, async { tokio::join!(asked, waits) })
        .await
        .expect("in time");
    hearing.abort();
}

#[tokio::test]
async fn nothing_is_said_to_who_does_not_know_the_secret_or_to_another_key() {
    let reader = Reader::start(FeedBounds::default()).await;
    let follower = Follower::new();
    let right = reader.found();
    let wrong_secret = Found {
        secret: vec![1; 32],
        ..right.clone()
    };
    let ended = follower.refused(wrong_secret).await;
    assert!(
        matches!(ended, Ended::Refused(Refusal::Secret)),
        "{ended:?}"
    );
    // The name is that of the key which was asked for, so the end that answers has to be another one.
    let mut pin = right.pin;
    pin[31] ^= 1;
    let ended = follower
        .refused(Found {
            pin,
            ..right.clone()
        })
        .await;
    let Ended::Lost(error) = &ended else {
        panic!("{ended:?}")
    };
    assert!(
        error.to_string().contains("ApplicationVerificationFailure"),
        "{error}"
    );
    let mut pin = right.pin;
    pin[0] ^= 1;
    let ended = follower
        .refused(Found {
            pin,
            ..right.clone()
        })
        .await;
    assert!(matches!(ended, Ended::Lost(_)), "{ended:?}");
    assert_eq!(follower.feed.epoch(), None);
    // And the right one is taken all the same.
    let mut follower = follower;
    let hearing = follower.hear(right, None);
    assert_eq!(follower.said().await, "lost Began one 7");
    hearing.abort();
}

#[tokio::test]
async fn a_lost_connection_goes_on_where_it_was() {
    let reader = Reader::start(FeedBounds::default()).await;
    let way = FaultProxy::tcp(reader.target()).await.expect("a free port");
    let through = |found: Found| match way.address() {
        Address::Tcp { host, port } => Found {
            address: format!("{host}:{port}"),
            ..found
        },
        Address::Unix { .. } => found,
    };
    let mut follower = Follower::new();
    let hearing = follower.hear(through(reader.found()), None);
    assert_eq!(follower.said().await, "lost Began one 7");
    reader.feed.tell(commit(1));
    assert_eq!(follower.said().await, "commit 10");
    way.cut_all().await;
    let (_, resume) = timeout(LONG, hearing)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(follower.feed.epoch(), None);
    reader.feed.tell(commit(2));
    let mut found = reader.found();
    let hearing = follower.hear(found.clone(), resume.clone());
    assert_eq!(follower.said().await, "commit 20");
    timeout(LONG, follower.feed.wait_passed(Lsn(25)))
        .await
        .expect("in time")
        .expect("it follows");
    // Current no sooner than it has heard what was told meanwhile.
    assert_eq!(follower.feed.passed(), Some(Lsn(25)));
    hearing.abort();
    // A place in another process's feed is none.
    let other = Reader::start(FeedBounds::default()).await;
    for number in 1..=9 {
        other.feed.tell(commit(number));
    }
    found = other.found();
    let hearing = follower.hear(found, resume.clone());
    assert_eq!(follower.said().await, "lost Began one 95");
    hearing.abort();
    // Nor is one from before this process led.
    drop(follower.feed.lead());
    let hearing = follower.hear(reader.found(), resume);
    assert_eq!(follower.said().await, "lost Began one 25");
    hearing.abort();
}

#[test]
fn who_goes_on_is_current_no_sooner_than_it_has_caught_up() {
    let feed = Feed::default();
    let relayed = feed.relayed().expect("it does not lead");
    let welcome = |resumed| Answer::Welcome {
        resumed,
        place: Place {
            feed: "theirs".to_owned(),
            next: 3,
        },
        epoch: "one".to_owned(),
        passed: Lsn(100),
    };
    let mut resume = None;
    let mut welcomed = |answer| welcomed(&"db".into(), answer, &feed, &relayed, &mut resume);
    // Nobody asked to go on.
    let ended = welcomed(welcome(true)).expect_err("no place");
    assert!(matches!(ended, Ended::Senseless(_)), "{ended:?}");
    assert_eq!(welcomed(welcome(false)).expect("welcome"), None);
    assert_eq!(feed.status(), Status::Relayed);
    relayed.is_away();
    assert_eq!(feed.epoch(), None);
    assert_eq!(
        welcomed(welcome(true)).expect("welcome"),
        Some(Lsn(100)),
        "it has to hear as much first"
    );
    assert_eq!((feed.status(), feed.epoch()), (Status::Unrelayed, None));
}

#[tokio::test]
async fn who_leads_by_himself_hears_no_more() {
    let reader = Reader::start(FeedBounds::default()).await;
    let mut follower = Follower::new();
    let hearing = follower.hear(reader.found(), None);
    assert_eq!(follower.said().await, "lost Began one 7");
    let leading = follower.feed.lead();
    assert_eq!(follower.feed.epoch(), None);
    reader.feed.tell(commit(1));
    let (ended, _) = timeout(LONG, hearing)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(matches!(ended, Ended::Leads(_)), "{ended:?}");
    assert!(follower.feed.relayed().is_none());
    drop(leading);
    assert_eq!(follower.feed.epoch(), None);
    assert!(follower.events.take().is_none());
}
