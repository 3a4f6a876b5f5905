//! How a process stands to the stream.

/// How this process stands to the stream of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has not begun, or has stopped.
    Idle,
    /// Another process reads.
    StandingBy,
    /// There can be no stream before somebody does something.
    Unready(Unready),
    /// It is about to follow: the slot is made, or was not found free yet.
    Starting,
    /// It follows.
    Following,
    /// It follows no more, for now: the connection is gone.
    Interrupted,
    /// Another process reads, and this one follows through its relay.
    Relayed,
    /// Another process reads, and its relay can't be heard, for now.
    Unrelayed,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// The server does not write what can be decoded.
    #[error(
        "wal_level is not logical, so there is no change stream; everything else works. To have it: \
         alter system set wal_level = 'logical', and restart the server; the same on the standby, if standby_url \
         names one"
    )]
    WalLevel,
    /// A reader that stops would fill the server's disk.
    #[error(
        "max_slot_wal_keep_size is -1, so a slot could fill the disk of the server; set it to what the disk can \
         spare (alter system set max_slot_wal_keep_size = '16GB'; select pg_reload_conf()), or allow it with \
         replication.allow_unlimited_wal"
    )]
    UnlimitedWal,
    /// Nobody said which tables.
    #[error(
        "there is no publication, or its event triggers are missing or disabled; run as the administrator: \
         rolegate replication sync"
    )]
    NotPublished,
    /// The server takes no writes.
    #[error(
        "this server is a standby, which the change stream can't be read from alone: the reader holds its lock in \
         the database and writes down there how far it is; name the primary in the database's url or direct_url, \
         and a standby that is to decode in standby_url. When this one is promoted the stream begins with a new epoch"
    )]
    Standby,
    /// The standby can't decode.
    #[error(
        "standby_url leads to a server older than PostgreSQL 16, which can't decode on a standby; take standby_url \
         out, and the primary decodes"
    )]
    OldStandby,
    /// The server that is to decode is none.
    #[error(
        "standby_url leads to a server that is no standby: it was promoted, or is the primary; name a standby of the \
         server in url or direct_url, or take standby_url out, and that one decodes"
    )]
    NoStandby,
    /// It follows another server, or another history of this one.
    #[error(
        "standby_url leads to a standby of another server than url or direct_url, or to one that did not come along \
         when its primary changed; name a standby of that server, or make this one follow it"
    )]
    OtherStandby,
    /// The primary would remove what decoding needs.
    #[error(
        "hot_standby_feedback is off on the standby that standby_url names, so the primary would remove rows of the \
         catalog that decoding needs, and the slot would be lost again and again; run there: \
         alter system set hot_standby_feedback = on; select pg_reload_conf()"
    )]
    NoFeedback,
    /// The schema is older than this program.
    #[error("the schema has no change stream yet; run: rolegate migrate")]
    NotMigrated,
    /// A slot of our name that is none of ours.
    #[error(
        "the slot with our name is of another plugin or database; look at pg_replication_slots and drop it"
    )]
    ForeignSlot,
}

impl Status {
    /// One word, for metrics and health.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::StandingBy => "standing_by",
            Self::Unready(_) => "unready",
            Self::Starting => "starting",
            Self::Following => "following",
            Self::Interrupted => "interrupted",
            Self::Relayed => "relayed",
            Self::Unrelayed => "unrelayed",
        }
    }
}
