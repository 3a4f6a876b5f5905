//! Which groups there are, and which of them a commit concerns.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rolegate_query::Touch;
use rolegate_replication::Commit;
use tokio::time::Instant;

use super::group::{Group, Key, Waited};
use super::recent::Recent;
use crate::metrics::LIVE_GROUPS;

/// The groups of a database, by what they read.
#[derive(Debug, Default)]
pub(super) struct Watched {
    by_key: HashMap<Key, u64>,
    groups: HashMap<u64, Entry>,
    by_relation: HashMap<u32, HashSet<u64>>,
    /// Those that any commit may concern.
    opaque: HashSet<u64>,
    streams_of_role: HashMap<u32, usize>,
    recent: Recent,
}

/// What concerns a group.
#[derive(Debug)]
pub(super) struct Concern {
    pub(super) touch: Touch,
    /// Everything it reads, views too: their definitions count.
    pub(super) relations: Vec<u32>,
    /// What it could read besides.
    pub(super) parts: Vec<u32>,
    /// Any commit may concern it.
    pub(super) opaque: bool,
}

#[derive(Debug)]
struct Entry {
    group: Arc<Group>,
    concern: Concern,
    members: usize,
    empty_since: Option<Instant>,
}

impl Watched {
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<Group>> {
        let entry = self.groups.get(self.by_key.get(key)?)?;
        Some(Arc::clone(&entry.group))
    }

    /// From now on it is told of commits, and of those that were told a moment ago.
    pub(super) fn add(&mut self, group: Arc<Group>, concern: Concern) {
        for commit in self.recent.iter() {
            concern.tell(&group, commit);
        }
        let id = group.id;
        self.by_key.insert(group.key.clone(), id);
        let entry = Entry {
            group,
            concern,
            members: 0,
            empty_since: Some(Instant::now()),
        };
        self.groups.insert(id, entry);
        self.index(id);
        metrics::gauge!(LIVE_GROUPS).increment(1.0);
    }

    /// What it reads is something else now.
    pub(super) fn change(&mut self, id: u64, concern: Concern) {
        self.take_out(id);
        if let Some(entry) = self.groups.get_mut(&id) {
            entry.concern = concern;
            self.index(id);
        }
    }

    fn index(&mut self, id: u64) {
        let Some(entry) = self.groups.get(&id) else {
            return;
        };
        for relation in entry.concern.all() {
            self.by_relation.entry(relation).or_default().insert(id);
        }
        if entry.concern.opaque {
            self.opaque.insert(id);
        }
    }

    fn take_out(&mut self, id: u64) {
        let Some(entry) = self.groups.get(&id) else {
            return;
        };
        for relation in entry.concern.all() {
            if let Some(ids) = self.by_relation.get_mut(&relation) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_relation.remove(&relation);
                }
            }
        }
        self.opaque.remove(&id);
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.take_out(id);
        let Some(entry) = self.groups.remove(&id) else {
            return;
        };
        if self.by_key.get(&entry.group.key) == Some(&id) {
            self.by_key.remove(&entry.group.key);
        }
        metrics::gauge!(LIVE_GROUPS).decrement(1.0);
    }

    /// One more watches it, unless as many of the role watch as may.
    pub(super) fn enter(&mut self, group: &Group, most_of_role: usize) -> bool {
        let streams = self.streams_of_role.entry(group.key.role_oid).or_default();
        if *streams >= most_of_role {
            return false;
        }
        *streams += 1;
        if let Some(entry) = self.groups.get_mut(&group.id) {
            entry.members += 1;
            entry.empty_since = None;
        }
        true
    }

    /// One watches it no more.
    pub(super) fn leave(&mut self, group: &Group) {
        if let Some(streams) = self.streams_of_role.get_mut(&group.key.role_oid) {
            *streams -= 1;
            if *streams == 0 {
                self.streams_of_role.remove(&group.key.role_oid);
            }
        }
        if let Some(entry) = self.groups.get_mut(&group.id) {
            entry.members -= 1;
            if entry.members == 0 {
                entry.empty_since = Some(Instant::now());
            }
        }
    }

    /// Since when nobody watches it.
    pub(super) fn empty_since(&self, id: u64) -> Option<Instant> {
        self.groups.get(&id)?.empty_since
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values().map(|entry| &entry.group)
    }

    /// Wakes the groups that a commit concerns.
    pub(super) fn commit(&mut self, commit: &Arc<Commit>) {
        if commit.everything {
            for entry in self.groups.values() {
                entry.group.wait_for(Waited {
                    xid: commit.xid,
                    redefines: true,
                });
            }
        } else if !commit.relations.is_empty() {
            let touched = commit.relations.keys();
            let mut ids: BTreeSet<u64> = touched
                .filter_map(|relation| self.by_relation.get(relation))
                .flatten()
                .copied()
                .collect();
            ids.extend(&self.opaque);
            for entry in ids.iter().filter_map(|id| self.groups.get(id)) {
                entry.concern.tell(&entry.group, commit);
            }
        } else {
            return;
        }
        self.recent.push(commit);
    }

    /// Nobody knows what happened.
    pub(super) fn lose(&mut self, why: &'static str) {
        self.recent.clear();
        for group in self.all() {
            group.lose(why);
        }
    }
}

impl Concern {
    fn all(&self) -> impl Iterator<Item = u32> {
        self.relations.iter().chain(&self.parts).copied()
    }

    fn tell(&self, group: &Group, commit: &Commit) {
        let redefined = commit.everything
            || self.relations.iter().any(|relation| {
                let touched = commit.relations.get(relation);
                touched.is_some_and(|touched| touched.redefined)
            });
        let part = || {
            let mut parts = self.parts.iter();
            parts.any(|part| commit.relations.contains_key(part))
        };
        if redefined || self.opaque || self.touch.is_touched_by(commit) || part() {
            group.wait_for(Waited {
                xid: commit.xid,
                redefines: redefined,
            });
        }
    }
}
