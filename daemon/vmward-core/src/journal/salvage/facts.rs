//! What the audit log says of the decisions that a journal should hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{super::Replay, strict::strictest};
use crate::{
    audit::{
        ApprovalRecord, AuditBody, DecisionRecord, OutOfBandCharge, Verdict, chain::Verifier,
        head::KeptHead,
    },
    clock::{self, NS_PER_MS, NS_PER_S, Now},
    ids::DecisionId,
    limit::{Charge, WINDOW_NS_MAX},
    policy::Policy,
};

/// Reads an audit log line by line, oldest first.
pub struct LogFacts<'a> {
    policy: &'a Policy,
    /// Allows that were charged, leased or approved.
    pub(super) allows: BTreeMap<DecisionId, DecisionRecord>,
    /// Charges of allows and of stops beside the gateway, in their time.
    pub(super) dated: Replay,
    /// Leases whose quota went back.
    pub(super) refunded: BTreeSet<DecisionId>,
    /// The furthest that each request for approval has come, and when.
    pub(super) requests: BTreeMap<DecisionId, (ApprovalRecord, When)>,
    /// Every number of a decision that the log has, and of a charge.
    pub(super) ids: BTreeSet<u64>,
    /// Denials that have no record of their own: how many, and the one after them.
    pub(super) bundled: Vec<(u64, u64)>,
    /// Allows of which the log does not say what they were charged.
    pub(super) untold: BTreeSet<DecisionId>,
    /// The boots, with what the wall clock was ahead of boot time.
    pub(super) boots: Vec<(String, i64)>,
    pub(super) first: Option<First>,
    /// Why the log may not have everything, and when that was found; `None`: now.
    pub(super) gaps: Vec<(Option<When>, String)>,
    verifier: Verifier,
    /// When the last record was written.
    when: When,
    kept: Option<KeptHead>,
    run: Option<Run>,
    refuses: bool,
    /// Did the last daemon that decided anything stop in order?
    clean: bool,
}

/// The log's first record.
pub(super) struct First {
    pub(super) when: When,
    /// It is the very first that was ever written.
    pub(super) is_genesis: bool,
}

/// When a record was written.
#[derive(Clone, Default)]
pub(super) struct When {
    boot_id: String,
    at: Now,
}

impl When {
    /// Its age at `now` of the boot `boot_id`, in nanoseconds.
    pub(super) fn age_ns(&self, boot_id: &str, now: Now) -> i64 {
        // Within a boot nobody can set the clock that tells the age.
        if self.boot_id == boot_id {
            now.boot_ns.saturating_sub(self.at.boot_ns)
        } else {
            now.wall_ns.saturating_sub(self.at.wall_ns)
        }
    }
}

/// A daemon that has started and not stopped yet.
struct Run {
    /// It had a damaged journal, and decided nothing.
    refuses: bool,
}

#[derive(Deserialize)]
struct Header {
    seq: u64,
    boot_id: String,
    boot_ns: i64,
    time: String,
}

impl<'a> LogFacts<'a> {
    /// Of a log that holds nothing yet. `policy` says what an allow of a former
    /// version, whose record does not tell its charges, may have been charged at
    /// most; `kept` is the newest record that was written, where that is known.
    pub fn new(policy: &'a Policy, kept: Option<KeptHead>) -> Self {
        Self {
            policy,
            allows: BTreeMap::new(),
            dated: Replay::default(),
            refunded: BTreeSet::new(),
            requests: BTreeMap::new(),
            ids: BTreeSet::new(),
            bundled: Vec::new(),
            untold: BTreeSet::new(),
            boots: Vec::new(),
            first: None,
            gaps: Vec::new(),
            verifier: Verifier::anywhere(),
            when: When::default(),
            kept,
            run: None,
            refuses: false,
            clean: true,
        }
    }

    /// Takes a line, without its line feed. `place` names it for people.
    pub fn take_line(&mut self, line: &str, place: &str) {
        if let Err(error) = self.verifier.check_line(line) {
            self.gap_here(format!("{place}: {error}"));
            // What follows may hang together again.
            let mut anew = Verifier::anywhere();
            if anew.check_line(line).is_err() {
                return;
            }
            self.verifier = anew;
        }
        let chain = self.verifier.chain();
        if self.kept.is_some() && chain.map(KeptHead::of) == self.kept {
            self.kept = None;
        }
        let Ok(header) = serde_json::from_str::<Header>(line) else {
            self.gap_here(format!("{place}: the record has no time"));
            return;
        };
        let at = self.enter(header);
        match serde_json::from_str(line) {
            Ok(body) => self.take(body, at),
            Err(error) => self.gap_here(format!("{place}: {error}")),
        }
    }

    /// Takes the record of a decision that was answered and has not come to the log.
    pub fn take_spooled(&mut self, body: AuditBody, now: Now) {
        self.take(body, now);
    }

    /// The log ends here.
    pub fn end(&mut self) {
        if let Some(kept) = self.kept.take() {
            let why = format!("the log lacks record {}, which was written", kept.seq);
            self.gap(why);
        }
        if self.run.as_ref().is_some_and(|run| !run.refuses) {
            self.clean = false;
        }
    }

    /// Something of the log cannot be read, whatever its time.
    pub fn gap(&mut self, why: String) {
        self.gaps.push((None, why));
    }

    fn gap_here(&mut self, why: String) {
        let when = self.first.is_some().then(|| self.when.clone());
        self.gaps.push((when, why));
    }

    /// For how many nanoseconds a charge counts, by its window and the policy's.
    pub(super) fn counts_ns(&self, charge: &Charge) -> i64 {
        let own = charge.window_s.map(|seconds| i64::from(seconds) * NS_PER_S);
        let limits = self.policy.limits();
        let limits = limits.filter(|limit| limit.counter == charge.key.counter);
        let announced = limits.map(|limit| limit.window.ns()).max();
        own.max(announced).unwrap_or(WINDOW_NS_MAX)
    }

    /// No charge by the policy counts for longer.
    pub(super) fn longest_ns(&self) -> i64 {
        let windows = self.policy.limits().map(|limit| limit.window.ns());
        windows.max().unwrap_or(0)
    }

    /// Did the last daemon that decided anything stop in order, so that the log has
    /// all that it answered?
    pub(super) fn ended_in_order(&self) -> bool {
        self.clean
    }

    fn enter(&mut self, header: Header) -> Now {
        let Header {
            seq,
            boot_id,
            boot_ns,
            time,
        } = header;
        let wall_ns = clock::parse_rfc3339(&time).unwrap_or(0);
        let at = Now { boot_ns, wall_ns };
        let ahead_ns = wall_ns.saturating_sub(boot_ns);
        let known = self.boots.last();
        if known.is_none_or(|(id, ahead)| *id != boot_id || !super::is_near(*ahead, ahead_ns)) {
            self.boots.push((boot_id.clone(), ahead_ns));
        }
        let mut last = at;
        if boot_id == self.when.boot_id {
            // The record does not tell parts of a millisecond, and an age that this
            // ends must not be too great.
            last.wall_ns = last.wall_ns.saturating_add(NS_PER_MS);
        }
        self.dated.enter_boot(boot_id.clone(), last);
        self.when = When { boot_id, at };
        self.first.get_or_insert_with(|| First {
            when: self.when.clone(),
            is_genesis: seq == 1,
        });
        at
    }

    fn take(&mut self, body: AuditBody, at: Now) {
        match body {
            AuditBody::Decision(record) => self.decision(*record, at),
            AuditBody::Denials(denials) => {
                let last = denials.last.decision_id.0;
                self.ids.insert(last);
                self.bundled.push((last, denials.count.saturating_sub(1)));
            }
            AuditBody::Lease(record) if record.refunded => {
                self.dated.uncharge(record.lease);
                self.refunded.insert(record.lease);
            }
            AuditBody::Vm(record) => self.charged(record.charged, at),
            AuditBody::Approval(record) => self.request(*record),
            AuditBody::Daemon(record) => {
                self.daemon(&record.event, record.detail.as_deref().unwrap_or_default());
                self.charged(record.charged, at);
            }
            AuditBody::Genesis(_)
            | AuditBody::Outcome(_)
            | AuditBody::Lease(_)
            | AuditBody::Protection(_)
            | AuditBody::Kernel(_)
            | AuditBody::Loss(_) => {}
        }
    }

    fn decision(&mut self, record: DecisionRecord, at: Now) {
        let id = record.decision_id;
        self.ids.insert(id.0);
        // A former version did not say that the journal has it.
        let is_journalled = record.journalled || record.lease.is_some();
        if record.decision != Verdict::Allow || !is_journalled {
            return;
        }
        let charges = record.charges.clone().unwrap_or_else(|| {
            self.untold.insert(id);
            strictest(self.policy, &record)
        });
        self.dated.charge(id, at, charges);
        self.allows.insert(id, record);
    }

    fn charged(&mut self, charged: Option<OutOfBandCharge>, at: Now) {
        if let Some(OutOfBandCharge { id, charges }) = charged {
            self.ids.insert(id.0);
            self.dated.charge(id, at, charges);
        }
    }

    fn request(&mut self, record: ApprovalRecord) {
        self.ids.insert(record.approval.0);
        let known = self.requests.get(&record.approval);
        if known.is_none_or(|(known, _)| known.event.stage() <= record.event.stage()) {
            let request = (record, self.when.clone());
            self.requests.insert(request.0.approval, request);
        }
    }

    fn daemon(&mut self, event: &str, detail: &str) {
        let decides = |run: &Run| !run.refuses;
        match event {
            "journal-refused" => self.refuses = true,
            "started" => {
                self.clean &= !self.run.as_ref().is_some_and(decides);
                let refuses = std::mem::take(&mut self.refuses);
                self.run = Some(Run { refuses });
            }
            "stopping" => {
                self.clean |= self.run.take().as_ref().is_some_and(decides);
            }
            "audit-end-missing" | "audit-head-missing" | "audit-records-dropped" => {
                self.gap_here(detail.to_owned());
            }
            "audit-put-aside" if detail.contains("is damaged") => self.gap_here(detail.to_owned()),
            _ => {}
        }
    }
}
