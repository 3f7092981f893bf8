//! Denied calls cost their caller nothing, so one that asks in a loop must not
//! fill the disk with them. An account that is denied too often gets an error
//! that says so, and one record a second that says how many calls it stands for.
//!
//! What was allowed, and what opened a request for approval, always has a record
//! of its own. Root is not bound: it can fill the disk without asking.

use std::collections::BTreeMap;

use vmward_core::audit::{DecisionRecord, DenialsRecord};
use vmward_core::clock::NS_PER_S;

/// Records of denied calls that an account may have at once, and how many more
/// a second.
const BURST: i64 = 100;
const PER_SECOND: i64 = 5;
/// Most accounts that are told apart; those beyond share one.
const ACCOUNTS_MAX: usize = 1024;

/// A user, and the grant under which it asks.
type Account = (u32, String);

/// The denials of the last seconds, by account.
#[derive(Debug, Default)]
pub(super) struct Denials {
    accounts: BTreeMap<Account, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: i64,
    since_ns: i64,
    held: Option<DenialsRecord>,
    held_since_ns: i64,
}

impl Denials {
    /// Is there room for this record? Where not, it is counted instead.
    pub(super) fn take(&mut self, record: &DecisionRecord, now_ns: i64) -> bool {
        if record.caller.uid == 0 {
            return true;
        }
        let mut account = (record.caller.uid, record.caller.grant.clone());
        if self.accounts.len() >= ACCOUNTS_MAX && !self.accounts.contains_key(&account) {
            account = (u32::MAX, String::new());
        }
        let bucket = self.accounts.entry(account).or_insert(Bucket {
            tokens: BURST,
            since_ns: now_ns,
            held: None,
            held_since_ns: now_ns,
        });
        bucket.refill(now_ns);
        if bucket.tokens > 0 {
            bucket.tokens -= 1;
            return true;
        }
        bucket.hold(record, now_ns);
        false
    }

    /// What has been held for a second. Accounts that have been quiet for long
    /// are forgotten.
    pub(super) fn due(&mut self, now_ns: i64) -> Vec<DenialsRecord> {
        let mut due = Vec::new();
        self.accounts.retain(|_, bucket| {
            bucket.refill(now_ns);
            if now_ns.saturating_sub(bucket.held_since_ns) >= NS_PER_S {
                due.extend(bucket.held.take());
            }
            bucket.held.is_some() || bucket.tokens < BURST
        });
        due
    }

    /// Everything that is held.
    pub(super) fn drain(&mut self) -> Vec<DenialsRecord> {
        let accounts = std::mem::take(&mut self.accounts);
        accounts
            .into_values()
            .filter_map(|bucket| bucket.held)
            .collect()
    }
}

impl Bucket {
    fn refill(&mut self, now_ns: i64) {
        let seconds = now_ns.saturating_sub(self.since_ns) / NS_PER_S;
        if seconds > 0 {
            let passed_ns = seconds.saturating_mul(NS_PER_S);
            self.since_ns = self.since_ns.saturating_add(passed_ns);
            let more = seconds.saturating_mul(PER_SECOND);
            self.tokens = self.tokens.saturating_add(more).min(BURST);
        }
    }

    fn hold(&mut self, record: &DecisionRecord, now_ns: i64) {
        let Some(held) = &mut self.held else {
            self.held_since_ns = now_ns;
            self.held = Some(DenialsRecord {
                count: 1,
                last: record.clone(),
            });
            return;
        };
        held.count = held.count.saturating_add(1);
        held.last = record.clone();
    }
}

#[cfg(test)]
mod tests;
