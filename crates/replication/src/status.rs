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
         alter system set wal_level = 'logical', and restart the server"
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
        "this server is a standby, which the change stream can't be read from: the reader holds its lock in the \
         database and writes down there how far it is; name the primary in the database's url or direct_url. When \
         this one is promoted the stream begins with a new epoch"
    )]
    Standby,
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
