//! Crash points: with the feature `crash-points`, `VMWARD_CRASH_AT=<name>`
//! ends the process, as `kill -9` would, at a named step. The crash tests use
//! it to stop the daemon between any two steps. Without the feature nothing of
//! it is compiled.

/// A step between two writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Decided, nothing written.
    BeforeJournal,
    /// Written, not yet durable.
    AfterJournalWrite,
    /// Durable; the kernel has no lease yet.
    AfterFsync,
    /// The kernel has the lease.
    AfterLease,
    /// The audit log's line cannot be lost any more.
    AfterAudit,
    /// Everything is done but the answer.
    BeforeAnswer,
    /// It is sent; the audit log has no line yet.
    AfterAnswer,
    /// The records that wait were taken to be written; the audit log has no line
    /// yet.
    BeforeLog,
    /// A repair of the journal is on record.
    RepairRecorded,
    /// The damaged journal has another name as well.
    RepairKept,
    /// A new journal stands beside the old one.
    BeforeRename,
    /// It has its name, which may not survive a power cut.
    AfterRename,
}

/// An allow, or a repair, is on its way: from here on the points count. What a daemon writes
/// while it starts is not what the tests are about.
#[cfg(feature = "crash-points")]
pub fn arm() {
    ARMED.store(true, std::sync::atomic::Ordering::Relaxed);
}

/// Does nothing: the feature `crash-points` is off.
#[cfg(not(feature = "crash-points"))]
pub fn arm() {}

#[cfg(feature = "crash-points")]
static ARMED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Ends the process here when the environment says so.
#[cfg(feature = "crash-points")]
pub fn point(here: Point) {
    let name = match here {
        Point::BeforeJournal => "before-journal",
        Point::AfterJournalWrite => "after-journal-write",
        Point::AfterFsync => "after-fsync",
        Point::AfterLease => "after-lease",
        Point::AfterAudit => "after-audit",
        Point::BeforeAnswer => "before-answer",
        Point::AfterAnswer => "after-answer",
        Point::BeforeLog => "before-log",
        Point::RepairRecorded => "repair-recorded",
        Point::RepairKept => "repair-kept",
        Point::BeforeRename => "before-rename",
        Point::AfterRename => "after-rename",
    };
    let armed = ARMED.load(std::sync::atomic::Ordering::Relaxed);
    if armed && std::env::var("VMWARD_CRASH_AT").is_ok_and(|at| at == name) {
        std::process::abort();
    }
}

/// Does nothing: the feature `crash-points` is off.
#[cfg(not(feature = "crash-points"))]
pub fn point(_here: Point) {}
