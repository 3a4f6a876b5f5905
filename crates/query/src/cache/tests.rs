use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use rolegate_replication::{Keys, Touched, Why, Xid};

use super::*;
use crate::{Analysis, Relation, Text};

const TABLES: [u32; 2] = [20_000, 20_001];
const CATALOG: Catalog = [1; 4];

/// A server with two tables. Transactions are told in the order of the log, and become visible in any.
struct World {
    feed: Feed,
    cache: Arc<Cache>,
    next_xid: u64,
    log: u64,
    /// Begun, not committed: which table they write.
    open: Vec<(u64, usize)>,
    /// Committed: position, transaction, table.
    committed: Vec<(u64, u64, usize)>,
    invisible: BTreeSet<u64>,
    untold: VecDeque<(u64, u64, usize)>,
    running: Vec<Running>,
    epochs: u64,
    checked: usize,
}

struct Running {
    run: Run,
    table: usize,
    snapshot: Snapshot,
    at: u64,
    body: Bytes,
}

fn touch(table: usize) -> Touch {
    let relation = Relation {
        oid: TABLES[table],
        schema: "api".into(),
        name: "t".into(),
        kind: 'r',
        row_security: false,
        system: false,
        published: true,
        view: None,
        comparable: Vec::new(),
        open: true,
    };
    let analysis = Analysis {
        columns: Vec::new(),
        read_set: vec![relation],
        unkept: Vec::new(),
        plan: crate::plan::Plan::default(),
        only_builtins: true,
    };
    Touch::of(&analysis, &Text::read("select 1").expect("a query"), &[])
}

fn hash(table: usize) -> Hash {
    Hash::of([Some(&[u8::try_from(table).expect("small")][..])])
}

impl World {
    fn new() -> Self {
        let feed = Feed::default();
        let cache = Cache::new(feed.clone(), 1 << 20);
        let mut world = Self {
            feed,
            cache,
            next_xid: 100,
            log: 1000,
            open: Vec::new(),
            committed: Vec::new(),
            invisible: BTreeSet::new(),
            untold: VecDeque::new(),
            running: Vec::new(),
            epochs: 0,
            checked: 0,
        };
        world.lose();
        world
    }

    /// A gap: what is not told by now is never told.
    fn lose(&mut self) {
        self.epochs += 1;
        self.untold.clear();
        let epoch = Epoch::new(&format!("{:x}", self.epochs));
        self.feed.begins(&epoch, Lsn(self.log), Why::NewEpoch);
        self.feed.follows();
    }

    /// What any statement sees. What runs at or past the last one that has ended is not listed.
    fn snapshot(&self) -> Snapshot {
        let visible = self.committed.iter().map(|(_, xid, _)| *xid);
        let visible = visible.filter(|xid| !self.invisible.contains(xid));
        self.snapshot_before(visible.max().map_or(100, |last| last + 1))
    }

    /// What is seen by whoever has had a transaction of his own end before.
    fn settled(&self) -> Snapshot {
        self.snapshot_before(self.next_xid)
    }

    fn snapshot_before(&self, xmax: u64) -> Snapshot {
        let mut running: Vec<u64> = self
            .open
            .iter()
            .map(|(xid, _)| *xid)
            .chain(self.invisible.clone())
            .filter(|xid| *xid < xmax)
            .collect();
        running.sort_unstable();
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        let xmin = running.first().copied().unwrap_or(xmax);
        format!("{xmin}:{xmax}:{}", list.join(","))
            .parse()
            .expect("a snapshot")
    }

    /// Looks, if nothing could be kept otherwise.
    fn settle(&mut self) {
        if !self.cache.is_in_doubt() {
            return;
        }
        let run = self.cache.begin().expect("it follows");
        self.next_xid += 1;
        let snapshot = self.settled();
        // Everything that was committed before is told by then.
        while !self.untold.is_empty() {
            self.tell_one();
        }
        run.look(&snapshot);
    }

    /// The transactions a statement sees in a table: its result.
    fn body(&self, table: usize) -> Bytes {
        let seen = self
            .committed
            .iter()
            .filter(|(_, xid, of)| *of == table && !self.invisible.contains(xid));
        let mut seen: Vec<u64> = seen.map(|(_, xid, _)| *xid).collect();
        seen.sort_unstable();
        format!("{seen:?}").into()
    }

    fn tell_one(&mut self) {
        let Some((lsn, xid, table)) = self.untold.pop_front() else {
            return;
        };
        let touched = Touched {
            inserts: 1,
            keys: Keys::All,
            ..Touched::default()
        };
        self.feed.tell(Commit {
            commit_lsn: Lsn(lsn),
            end_lsn: Lsn(lsn + 1),
            xid: Xid(xid),
            at: jiff::Timestamp::UNIX_EPOCH,
            relations: BTreeMap::from([(TABLES[table], touched)]),
            everything: false,
            messages: Vec::new(),
        });
    }

    fn step(&mut self, what: u8, which: usize) {
        match what % 16 {
            0 | 1 => {
                self.open.push((self.next_xid, which % 2));
                self.next_xid += 1;
            }
            2..=4 if !self.open.is_empty() => {
                let (xid, table) = self.open.remove(which % self.open.len());
                self.log += 10;
                self.committed.push((self.log, xid, table));
                self.untold.push_back((self.log, xid, table));
                self.invisible.insert(xid);
                if what % 16 != 4 {
                    self.invisible.remove(&xid);
                }
            }
            5 if !self.open.is_empty() => {
                self.open.remove(which % self.open.len());
            }
            6 | 7 => {
                let mut all = self.invisible.iter().copied();
                if let Some(xid) = all.nth(which % self.invisible.len().max(1)) {
                    self.invisible.remove(&xid);
                }
            }
            8 | 9 => self.tell_one(),
            10 | 11 => {
                let table = which % 2;
                if !which.is_multiple_of(3) {
                    self.settle();
                }
                if let Some(run) = self.cache.begin() {
                    self.running.push(Running {
                        run,
                        table,
                        snapshot: self.snapshot(),
                        at: self.log,
                        body: self.body(table),
                    });
                }
            }
            12..=14 if !self.running.is_empty() => {
                let running = self.running.remove(which % self.running.len());
                self.end(running);
            }
            15 if which.is_multiple_of(8) => self.lose(),
            _ => {}
        }
        self.check();
    }

    fn end(&mut self, running: Running) {
        while self
            .untold
            .front()
            .is_some_and(|(lsn, ..)| *lsn <= running.at)
        {
            self.tell_one();
        }
        let draft = Draft {
            hash: hash(running.table),
            format: Format::Json,
            body: running.body,
            touch: touch(running.table),
            purge: Bytes::new(),
            catalog: CATALOG,
        };
        if let Kept::Current(entry) | Kept::Superseded(entry) =
            running.run.end(&running.snapshot, draft)
        {
            self.checked += 1;
            let version = entry.version.lsn.0;
            let mut shown: Vec<u64> = self
                .committed
                .iter()
                .filter(|(lsn, _, table)| *lsn <= version && *table == running.table)
                .map(|(_, xid, _)| *xid)
                .collect();
            shown.sort_unstable();
            assert_eq!(
                String::from_utf8_lossy(&entry.body),
                format!("{shown:?}"),
                "version {version}"
            );
        }
    }

    /// What is called current shows everything that was told, and nothing else of what was committed then.
    fn check(&mut self) {
        for table in 0..2 {
            let Some((entry, _)) = self.cache.current(hash(table), &CATALOG) else {
                continue;
            };
            self.checked += 1;
            let untold: BTreeSet<u64> = self.untold.iter().map(|(_, xid, _)| *xid).collect();
            let body = String::from_utf8_lossy(&entry.body).into_owned();
            let shown: BTreeSet<u64> = body
                .trim_matches(['[', ']'])
                .split(", ")
                .filter_map(|xid| xid.parse().ok())
                .collect();
            for (_, xid, of) in &self.committed {
                assert!(
                    *of != table || shown.contains(xid) || untold.contains(xid),
                    "{xid} is missing in {body}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_version_is_exactly_what_was_committed_up_to_it(
        steps in prop::collection::vec((any::<u8>(), any::<u8>()), 1..300)
    ) {
        let mut world = World::new();
        for (what, which) in steps {
            world.step(what, usize::from(which));
        }
    }
}

fn keep(world: &mut World, table: usize) -> Kept {
    world.settle();
    let run = world.cache.begin().expect("it follows");
    let draft = Draft {
        hash: hash(table),
        format: Format::Json,
        body: world.body(table),
        touch: touch(table),
        purge: Bytes::new(),
        catalog: CATALOG,
    };
    run.end(&world.snapshot(), draft)
}

#[test]
fn answers_are_kept_and_go_when_they_are_touched() {
    let mut world = World::new();
    let Kept::Current(first) = keep(&mut world, 0) else {
        panic!("kept")
    };
    let current = |world: &World| {
        world
            .cache
            .current(hash(0), &CATALOG)
            .map(|(entry, _)| entry)
    };
    assert!(Arc::ptr_eq(&first, &current(&world).expect("there")));
    // Another table.
    world.open.push((200, 1));
    world.next_xid = 201;
    world.step(2, 0);
    world.step(8, 0);
    assert!(current(&world).is_some());
    // This one.
    world.step(0, 0);
    world.step(2, 0);
    world.step(8, 0);
    assert!(current(&world).is_none());
    assert!(
        world
            .cache
            .exactly(hash(0), &first.version, &CATALOG)
            .is_some()
    );
    assert!(
        world
            .cache
            .exactly(hash(0), &first.version, &[2; 4])
            .is_none()
    );
    let Kept::Current(second) = keep(&mut world, 0) else {
        panic!("kept")
    };
    assert!(second.version.lsn > first.version.lsn);
    // The catalog changed.
    assert!(world.cache.current(hash(0), &[2; 4]).is_none());
    assert!(current(&world).is_none());
    // Nothing outlives a gap.
    keep(&mut world, 0);
    world.lose();
    assert!(current(&world).is_none());
    assert_eq!(world.cache.size(), Size::default());
}

#[test]
fn what_was_committed_and_is_not_visible_is_waited_for() {
    let mut world = World::new();
    for (xid, shows) in [(100, false), (101, true)] {
        world.open.push((xid, 0));
        world.next_xid = xid + 1;
        world.step(if shows { 2 } else { 4 }, world.open.len() - 1);
    }
    world.step(8, 0);
    world.step(8, 0);
    assert!(matches!(keep(&mut world, 0), Kept::Torn));
    world.invisible.clear();
    assert!(matches!(keep(&mut world, 0), Kept::Current(_)));
    // A later one: what is shown is right for its version, but not current.
    world.step(0, 0);
    world.step(4, 0);
    world.step(8, 0);
    assert!(matches!(keep(&mut world, 0), Kept::Superseded(_)));
    assert!(world.cache.current(hash(0), &CATALOG).is_none());
}

#[test]
fn after_a_gap_nothing_is_kept_that_could_lack_something() {
    let mut world = World::new();
    world.open.push((100, 0));
    world.next_xid = 101;
    world.step(4, 0);
    world.lose();
    for _ in 0..2 {
        assert!(matches!(keep(&mut world, 0), Kept::Not(_)));
    }
    world.invisible.clear();
    assert!(matches!(keep(&mut world, 0), Kept::Current(_)));
}

#[test]
fn the_newest_always_has_room_and_what_is_not_current_goes_first() {
    let feed = Feed::default();
    let cache = Cache::new(feed.clone(), 8 * 10_000);
    feed.begins(&Epoch::new("1"), Lsn(1), Why::Began);
    feed.follows();
    let put = |number: u8, size: usize| {
        let draft = Draft {
            hash: Hash::of([Some(&[number][..])]),
            format: Format::Json,
            body: vec![number; size].into(),
            touch: touch(0),
            purge: Bytes::new(),
            catalog: CATALOG,
        };
        let run = cache.begin().expect("it follows");
        run.end(&"1:1:".parse().expect("a snapshot"), draft)
    };
    let look = cache.begin().expect("it follows");
    look.look(&"1:1:".parse().expect("a snapshot"));
    for number in 0..100 {
        assert!(matches!(put(number, 9_000), Kept::Current(_)));
        let hash = Hash::of([Some(&[number][..])]);
        assert!(cache.current(hash, &CATALOG).is_some(), "{number}");
    }
    // With room for their compressed forms.
    let size = cache.size();
    assert!(size.bytes <= 80_000 && size.entries == 4, "{size:?}");
    assert!(
        matches!(put(200, 10_000), Kept::Not(_)),
        "larger than an eighth"
    );
}
