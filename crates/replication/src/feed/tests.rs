//! Subscribers that are slow, late, or not there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::timeout;

use super::*;
use crate::xid::Xid;

fn commit(number: u64) -> Commit {
    Commit {
        commit_lsn: Lsn(number * 10),
        end_lsn: Lsn(number * 10 + 5),
        xid: Xid(number),
        at: Timestamp::UNIX_EPOCH,
        relations: BTreeMap::new(),
        everything: true,
        messages: Vec::new(),
    }
}

/// A feed that follows from 0 on.
fn feed(bounds: FeedBounds) -> Feed {
    let feed = Feed::new(bounds);
    feed.begins(&Epoch::new("first"), Lsn(0), Why::Began);
    feed.follows();
    feed
}

fn said(event: Option<Event>) -> String {
    match event {
        None => "nothing".to_owned(),
        Some(Event::Commit(commit)) => format!("commit {}", commit.xid.0),
        Some(Event::Passed(lsn)) => format!("passed {}", lsn.0),
        Some(Event::Lost(lost)) => format!("lost {:?} {} {}", lost.why, lost.epoch, lost.at.0),
    }
}

#[test]
fn events_come_in_order_and_positions_are_not_repeated() {
    let feed = feed(FeedBounds::default());
    let mut late = feed.subscribe();
    let mut events = feed.subscribe();
    feed.tell(commit(1));
    feed.pass(Lsn(17));
    feed.pass(Lsn(18));
    feed.tell(commit(2));
    let next = |events: &mut Subscription| said(events.take());
    assert_eq!(next(&mut events), "commit 1");
    assert_eq!(next(&mut events), "commit 2");
    // The position of the commit itself is no news.
    assert_eq!(next(&mut events), "nothing");
    feed.pass(Lsn(20));
    feed.pass(Lsn(30));
    assert_eq!(next(&mut events), "passed 30");
    feed.pass(Lsn(29));
    assert_eq!(next(&mut events), "nothing");
    // What is void is not told.
    feed.begins(&Epoch::new("second"), Lsn(40), Why::NewEpoch);
    feed.tell(commit(5));
    assert_eq!(next(&mut events), "lost NewEpoch second 40");
    assert_eq!(next(&mut events), "commit 5");
    // Nor is it to who was behind, and he misses nothing after it.
    assert_eq!(next(&mut late), "lost NewEpoch second 40");
    assert_eq!(next(&mut late), "commit 5");
    assert_eq!(next(&mut late), "nothing");
}

#[test]
fn who_is_too_slow_is_told_and_nobody_waits() {
    let feed = feed(FeedBounds {
        commits: 3,
        bytes: 1 << 20,
    });
    let mut slow = feed.subscribe();
    let mut fast = feed.subscribe();
    for number in 1..=3 {
        feed.tell(commit(number));
        assert_eq!(said(fast.take()), format!("commit {number}"));
    }
    feed.tell(commit(4));
    assert_eq!(said(slow.take()), "lost Lagged first 45");
    assert_eq!(said(slow.take()), "nothing");
    assert_eq!(said(fast.take()), "commit 4");
    feed.tell(commit(5));
    assert_eq!(said(slow.take()), "commit 5");
}

#[test]
fn bytes_are_bounded_too() {
    let weight = commit(1).weight();
    let feed = feed(FeedBounds {
        commits: 1000,
        bytes: 4 * weight,
    });
    let mut slow = feed.subscribe();
    for number in 1..=5 {
        feed.tell(commit(number));
    }
    assert_eq!(said(slow.take()), "lost Lagged first 55");
    // One that is larger than all there may be is not kept either.
    let mut large = commit(6);
    large.messages = vec!["x".repeat(5 * weight).into()];
    feed.tell(large);
    assert_eq!(said(slow.take()), "lost Lagged first 65");
}

#[tokio::test]
async fn who_waits_is_woken_and_who_does_not_follow_is_told() {
    let feed = Feed::default();
    assert_eq!(feed.wait_passed(Lsn(1)).await, Err(NotFollowing));
    feed.begins(&Epoch::new("first"), Lsn(10), Why::Began);
    // It knows the epoch, and does not follow yet.
    assert_eq!(feed.epoch(), None);
    feed.follows();
    assert_eq!(feed.wait_passed(Lsn(10)).await, Ok(()));
    let waiting = {
        let feed = feed.clone();
        tokio::spawn(async move { feed.wait_passed(Lsn(11)).await })
    };
    // Nothing comes by itself, so it asks.
    timeout(Duration::from_secs(5), feed.asked())
        .await
        .expect("asked");
    feed.pass(Lsn(11));
    assert_eq!(waiting.await.expect("no panic"), Ok(()));
    let waiting = {
        let feed = feed.clone();
        tokio::spawn(async move { feed.wait_passed(Lsn(12)).await })
    };
    tokio::task::yield_now().await;
    feed.stand(Status::Interrupted);
    assert_eq!(waiting.await.expect("no panic"), Err(NotFollowing));
    assert_eq!((feed.epoch(), feed.passed()), (None, None));
    // And goes on as if nothing had been.
    let mut events = feed.subscribe();
    feed.follows();
    assert_eq!(feed.epoch(), Some(Epoch::new("first")));
    assert!(events.take().is_none());
}
