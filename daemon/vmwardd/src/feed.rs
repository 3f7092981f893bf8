//! Audit records on their way to whoever subscribed, and the bell for those who
//! wait for a person's decision. Nobody here can hold up the one who writes: a
//! subscriber that is too slow misses records, and is told how many.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use vmward_core::audit::AuditBody;

/// Records that a subscriber may be behind.
const BUFFER: usize = 1024;
/// Most subscribers at a time, over both sockets.
pub const SUBSCRIBERS_MAX: usize = 8;

/// A record as the log has it.
#[derive(Debug)]
pub struct Published {
    /// What happened.
    pub body: AuditBody,
    /// The line of the log, without its line feed.
    pub line: String,
}

impl Published {
    /// Whose business the record is, for those that are somebody's.
    pub fn grant(&self) -> Option<&str> {
        match &self.body {
            AuditBody::Decision(record) => Some(&record.caller.grant),
            AuditBody::Denials(record) => Some(&record.last.caller.grant),
            AuditBody::Outcome(record) => record.grant.as_deref(),
            AuditBody::Approval(record) => Some(&record.grant),
            _ => None,
        }
    }

    /// The record's `kind`.
    pub fn kind(&self) -> &'static str {
        match &self.body {
            AuditBody::Genesis(_) => "genesis",
            AuditBody::Daemon(_) => "daemon",
            AuditBody::Decision(_) => "decision",
            AuditBody::Denials(_) => "denials",
            AuditBody::Outcome(_) => "outcome",
            AuditBody::Lease(_) => "lease",
            AuditBody::Approval(_) => "approval",
            AuditBody::Vm(_) => "vm",
            AuditBody::Protection(_) => "protection",
            AuditBody::Kernel(_) => "kernel",
            AuditBody::Loss(_) => "loss",
        }
    }
}

/// Every word that [`Published::kind`] can be.
pub const KINDS: [&str; 11] = [
    "genesis",
    "daemon",
    "decision",
    "denials",
    "outcome",
    "lease",
    "approval",
    "vm",
    "protection",
    "kernel",
    "loss",
];

/// One for the whole daemon.
#[derive(Debug)]
pub struct Feed {
    records: broadcast::Sender<Arc<Published>>,
    /// Changes whenever a request for approval does.
    bell: watch::Sender<()>,
    places: Arc<Semaphore>,
}

/// A subscriber's place and its records.
#[derive(Debug)]
pub struct Subscription {
    /// Yields a record, or how many were missed.
    pub records: broadcast::Receiver<Arc<Published>>,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    /// Without subscribers.
    pub fn new() -> Arc<Feed> {
        Arc::new(Feed {
            records: broadcast::Sender::new(BUFFER),
            bell: watch::Sender::new(()),
            places: Arc::new(Semaphore::new(SUBSCRIBERS_MAX)),
        })
    }

    /// Passes a record on that has just been written.
    pub fn publish(&self, body: &AuditBody, line: &str) {
        if is_rung_for(body) {
            self.bell.send_replace(());
        }
        if self.records.receiver_count() == 0 {
            return;
        }
        let published = Published {
            body: body.clone(),
            line: line.to_owned(),
        };
        // The last subscriber may have left just now.
        drop(self.records.send(Arc::new(published)));
    }

    /// Does anybody want to hear of it?
    pub fn wants(&self, body: &AuditBody) -> bool {
        is_rung_for(body) || self.records.receiver_count() > 0
    }

    /// From now on; `None` when there are too many already.
    pub fn subscribe(&self) -> Option<Subscription> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Subscription {
            records: self.records.subscribe(),
            _place: place,
        })
    }

    /// For a part of the daemon itself, which needs no place.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Published>> {
        self.records.subscribe()
    }

    /// Says when to look at requests for approval again.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }
}

/// Does somebody wait for a person's decision who must look again?
fn is_rung_for(body: &AuditBody) -> bool {
    matches!(body, AuditBody::Approval(_))
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;
    use vmward_core::audit::DaemonRecord;

    use super::*;

    #[test]
    fn a_slow_subscriber_is_told_how_many_it_missed_and_the_writer_never_waits() {
        let feed = Feed::new();
        let mut slow = feed.subscribe().unwrap();
        let body = AuditBody::Daemon(DaemonRecord {
            event: "started".to_owned(),
            detail: None,
        });
        for number in 0..BUFFER + 10 {
            feed.publish(&body, &number.to_string());
        }
        let missed = slow.records.try_recv().unwrap_err();
        assert_eq!(missed, TryRecvError::Lagged(10));
        assert_eq!(slow.records.try_recv().unwrap().line, "10");
    }

    #[test]
    fn a_place_is_free_again_when_its_subscriber_has_left() {
        let feed = Feed::new();
        let mut all: Vec<Subscription> = (0..SUBSCRIBERS_MAX)
            .map(|_| feed.subscribe().unwrap())
            .collect();
        assert!(feed.subscribe().is_none());
        all.pop();
        assert!(feed.subscribe().is_some());
    }
}
