//! Audit records on their way to whoever subscribed, and the bell for those who
//! wait for a person's decision. Nobody here can hold up the one who writes: a
//! subscriber that is too slow misses records, and is told how many.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use vmward_core::audit::AuditBody;

use crate::places::{Place, Places};
use crate::socket::Door;

/// Records that a subscriber may be behind.
const BUFFER: usize = 1024;
/// Subscribers of the policy socket at a time, of root and of all others each; of the
/// others one more for each account that has none.
pub const SUBSCRIBERS_MAX: usize = 8;
/// Most subscribers of the admin socket.
pub const ADMIN_SUBSCRIBERS_MAX: usize = 8;

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
    places: Arc<Places>,
    /// Root's alone, so that whoever listens at the policy socket keeps nobody
    /// from watching requests for approval.
    admin_places: Arc<Places>,
}

/// A subscriber's place and its records.
#[derive(Debug)]
pub struct Subscription {
    /// Yields a record, or how many were missed.
    pub records: broadcast::Receiver<Arc<Published>>,
    _place: Place,
}

impl Feed {
    /// Without subscribers.
    pub fn new() -> Arc<Feed> {
        Arc::new(Feed {
            records: broadcast::Sender::new(BUFFER),
            bell: watch::Sender::new(()),
            places: Places::new(SUBSCRIBERS_MAX),
            admin_places: Places::new(ADMIN_SUBSCRIBERS_MAX),
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

    /// From now on; `None` when there are too many already, of this user or of
    /// all of them.
    pub fn subscribe(&self, door: Door, uid: u32) -> Option<Subscription> {
        let place = match door {
            Door::Policy => self.places.take(uid)?,
            Door::Admin => self.admin_places.take(uid)?,
        };
        Some(Subscription {
            records: self.records.subscribe(),
            _place: place,
        })
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

    use super::*;

    #[test]
    fn a_slow_subscriber_is_told_how_many_it_missed_and_the_writer_never_waits() {
        let feed = Feed::new();
        let mut slow = feed.subscribe(Door::Policy, 0).unwrap();
        let body = AuditBody::daemon("started", None);
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
        let user = u32::MAX - 2;
        let subscribe = || feed.subscribe(Door::Policy, user);
        let mut all: Vec<Subscription> = std::iter::from_fn(subscribe).collect();
        assert_eq!(all.len(), 2);
        all.pop();
        assert!(feed.subscribe(Door::Policy, user).is_some());
    }

    #[test]
    fn whoever_listens_at_the_policy_socket_keeps_root_from_nothing() {
        let feed = Feed::new();
        let users = u32::MAX - 20..u32::MAX - 10;
        let all: Vec<Subscription> = users
            .flat_map(|user| std::iter::from_fn(move || Some(user)).take(SUBSCRIBERS_MAX))
            .filter_map(|user| feed.subscribe(Door::Policy, user))
            .collect();
        // Four have two each, and each of the other six has one.
        assert_eq!(all.len(), 8 + 6);
        assert!(feed.subscribe(Door::Policy, 0).is_some());
        assert!(feed.subscribe(Door::Admin, 0).is_some());
    }
}
