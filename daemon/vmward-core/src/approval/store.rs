//! Every request for approval that still matters.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Approval, ApprovalError, ApprovalState, Binding, Person};
use crate::{
    clock::{NS_PER_S, Now},
    ids::DecisionId,
};

/// Most requests at a time, over all grants.
pub const APPROVALS_MAX: usize = 1000;

/// Why a request is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Too many of this grant wait.
    #[error("the grant has too many requests for approval open")]
    Grant,
    /// Too many of all grants are kept.
    #[error("there is no room for another request for approval")]
    Full,
}

/// Every request that still matters, and those used since, until their deadline.
#[derive(Clone, Debug, Default)]
pub struct Approvals {
    all: BTreeMap<DecisionId, Approval>,
    /// The decisions that used one.
    used: BTreeMap<DecisionId, DecisionId>,
    /// The decisions by which another person asked for one, and who.
    joined: BTreeMap<DecisionId, (DecisionId, Person)>,
}

impl Approvals {
    /// Each of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Approval> {
        self.all.values()
    }

    /// The one with this id.
    pub fn get(&self, id: DecisionId) -> Option<&Approval> {
        self.all.get(&id)
    }

    /// The one that speaks for or against this very call at `now_ns`, a yes
    /// before a no before a wait. A no stands over a change of the policy: who
    /// said it was not asked about the policy, and must not be asked again by
    /// changing it.
    pub fn find(&self, binding: &Binding, now_ns: i64) -> Option<&Approval> {
        let rank = |approval: &&Approval| match approval.state {
            ApprovalState::Approved => 0,
            ApprovalState::Denied => 1,
            ApprovalState::Pending | ApprovalState::Used | ApprovalState::Expired => 2,
        };
        let open = self
            .all
            .values()
            .filter(|approval| approval.is_open() && approval.deadline_ns > now_ns);
        open.filter(|approval| {
            approval.binding == *binding
                || approval.state == ApprovalState::Denied && approval.is_for_call(binding)
        })
        .min_by_key(rank)
    }

    /// A request for the same call that a former policy asked for.
    pub fn of_former_policy(&self, binding: &Binding, now_ns: i64) -> Option<&Approval> {
        self.all.values().find(|approval| {
            is_of_former_policy(approval, &binding.policy_hash)
                && approval.deadline_ns > now_ns
                && approval.is_for_call(binding)
                && approval.binding.agent == binding.agent
        })
    }

    /// Would there be room for a request of this grant?
    pub fn room(&self, grant: &str, cap: usize, now_ns: i64) -> Result<(), OpenError> {
        let of_grant = self.all.values().filter(|approval| {
            approval.state == ApprovalState::Pending
                && approval.deadline_ns > now_ns
                && approval.binding.grant == grant
        });
        if of_grant.count() >= cap {
            return Err(OpenError::Grant);
        }
        let open = self.all.values().filter(|approval| approval.is_open());
        if open.count() >= APPROVALS_MAX {
            return Err(OpenError::Full);
        }
        Ok(())
    }

    /// Takes up a new request, with at most `cap` of its grant waiting.
    pub fn open(&mut self, approval: Approval, cap: usize, now_ns: i64) -> Result<(), OpenError> {
        self.room(&approval.binding.grant, cap, now_ns)?;
        if self.all.len() >= APPROVALS_MAX {
            // Used ones are kept for people to look at, as long as there is room.
            self.all.retain(|_, approval| approval.is_open());
        }
        self.all.insert(approval.id, approval);
        Ok(())
    }

    /// Notes that this person asks for the request too, by `decision`. Returns the
    /// request where that is news; it must be written down before the answer.
    /// Who asks is refused before where [`Approval::may_be_asked_by`] says no.
    pub fn join(
        &mut self,
        id: DecisionId,
        person: &Person,
        decision: DecisionId,
    ) -> Option<&Approval> {
        let approval = self.all.get_mut(&id)?;
        if approval.askers().any(|asker| asker == person) {
            return None;
        }
        approval.also_asked.push(person.clone());
        self.joined.insert(decision, (id, person.clone()));
        Some(approval)
    }

    /// Takes a request back that could not be written down.
    pub fn remove(&mut self, id: DecisionId) {
        self.all.remove(&id);
    }

    /// A person decides. A yes must come from somebody else than all who ask; a
    /// no may come from anyone, since it opens nothing, and also takes back a yes
    /// that is not used yet. `policy_hash` is that of
    /// the policy in force.
    pub fn decide(
        &mut self,
        id: DecisionId,
        verdict: PersonsVerdict,
        policy_hash: &str,
        now: Now,
    ) -> Result<&Approval, ApprovalError> {
        let approval = self.all.get_mut(&id).ok_or(ApprovalError::Unknown(id))?;
        let may_change = match approval.state {
            ApprovalState::Pending => true,
            // Whoever said yes by mistake must be able to take it back.
            ApprovalState::Approved => !verdict.yes,
            ApprovalState::Denied | ApprovalState::Used | ApprovalState::Expired => false,
        };
        if !may_change {
            let state = approval.state;
            return Err(ApprovalError::NotPending { id, state });
        }
        if approval.deadline_ns <= now.boot_ns || approval.binding.policy_hash != policy_hash {
            return Err(ApprovalError::Expired(id));
        }
        let PersonsVerdict {
            by,
            yes,
            note,
            denied_memory_s,
        } = verdict;
        let own = approval.askers().find(|asker| !by.differs_from(asker));
        if let Some(own) = own.filter(|_| yes) {
            let uid = own.uid;
            return Err(ApprovalError::OwnRequest { id, uid });
        }
        if yes {
            approval.state = ApprovalState::Approved;
        } else {
            approval.state = ApprovalState::Denied;
            approval.deadline_ns = now
                .boot_ns
                .saturating_add(i64::from(denied_memory_s) * NS_PER_S);
        }
        approval.decided_by = Some(by);
        approval.note = note;
        Ok(approval)
    }

    /// Uses up the yes for this very call, if there is one, for `decision`. Who
    /// uses it is judged before, by [`Approval::may_be_used_by`].
    pub fn use_up(
        &mut self,
        binding: &Binding,
        decision: DecisionId,
        now_ns: i64,
    ) -> Option<&Approval> {
        let id = self
            .find(binding, now_ns)
            .filter(|approval| approval.state == ApprovalState::Approved)?
            .id;
        let approval = self.all.get_mut(&id)?;
        approval.state = ApprovalState::Used;
        self.used.insert(decision, id);
        Some(approval)
    }

    /// The request whose yes this decision used.
    pub fn used_by(&self, decision: DecisionId) -> Option<DecisionId> {
        self.used.get(&decision).copied()
    }

    /// Takes back what a decision did that could not be written down: the request
    /// that it opened, who asked by it, or the yes that it used.
    pub fn undo(&mut self, decision: DecisionId) {
        self.remove(decision);
        let used = self.used.remove(&decision);
        if let Some(approval) = used.and_then(|id| self.all.get_mut(&id)) {
            approval.state = ApprovalState::Approved;
        }
        if let Some((id, person)) = self.joined.remove(&decision)
            && let Some(approval) = self.all.get_mut(&id)
        {
            approval.also_asked.retain(|asker| *asker != person);
        }
    }

    /// Drops all whose time is over, and those that wait or were approved under a
    /// policy that is no longer in force. Those that waited for something are
    /// returned, as expired; the note of one that still had time says why.
    pub fn expire(&mut self, policy_hash: &str, now_ns: i64) -> Vec<Approval> {
        let mut expired = Vec::new();
        self.all.retain(|_, approval| {
            if !is_over(approval, policy_hash, now_ns) {
                return true;
            }
            if matches!(
                approval.state,
                ApprovalState::Pending | ApprovalState::Approved
            ) {
                let mut approval = approval.clone();
                approval.state = ApprovalState::Expired;
                if approval.deadline_ns > now_ns {
                    let said = approval.note.take();
                    let said = said.map_or_else(String::new, |note| format!("; note: {note}"));
                    approval.note = Some(format!("ended by a change of the policy{said}"));
                }
                expired.push(approval);
            }
            false
        });
        let all = &self.all;
        self.used.retain(|_, id| all.contains_key(id));
        self.joined.retain(|_, (id, _)| all.contains_key(id));
        expired
    }

    /// The boot-time nanosecond at which [`Approvals::expire`] has something to
    /// do; 0 when it has already.
    pub fn next_deadline(&self, policy_hash: &str) -> Option<i64> {
        let deadlines = self.all.values().map(|approval| {
            if is_over(approval, policy_hash, i64::MIN) {
                0
            } else {
                approval.deadline_ns
            }
        });
        deadlines.min()
    }

    /// Puts one from the journal back.
    pub fn restore(&mut self, approval: Approval) {
        self.all.insert(approval.id, approval);
    }
}

fn is_over(approval: &Approval, policy_hash: &str, now_ns: i64) -> bool {
    is_of_former_policy(approval, policy_hash) || approval.deadline_ns <= now_ns
}

/// Does it count no more, because another policy asked for it? What people denied
/// stays denied.
fn is_of_former_policy(approval: &Approval, policy_hash: &str) -> bool {
    let waits = matches!(
        approval.state,
        ApprovalState::Pending | ApprovalState::Approved
    );
    waits && approval.binding.policy_hash != policy_hash
}

/// What a person says.
#[derive(Clone, Debug)]
pub struct PersonsVerdict {
    /// Who.
    pub by: Person,
    /// Yes or no.
    pub yes: bool,
    /// What there is to say about it.
    pub note: Option<String>,
    /// Seconds for which a no is remembered.
    pub denied_memory_s: u32,
}
