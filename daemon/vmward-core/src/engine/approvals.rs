//! Requests for approval: opened by calls, decided by people, ended by time.

use super::{
    Caller, Engine, Target,
    govern::{Call, Governing},
    message,
    refusal::Refusal,
    weigh::asks_for_approval,
};
use crate::{
    approval::{
        Approval, ApprovalConfig, ApprovalError, ApprovalState, Binding, Person, PersonsVerdict,
    },
    audit::AuditBody,
    clock::{NS_PER_S, Now},
    ids::DecisionId,
    journal::JournalEntry,
    policy::RuleMode,
};

/// Most characters of the arguments that a person is shown.
const ARGUMENTS_CHARS_MAX: usize = 2048;

impl Engine {
    /// Says that nobody but this user approves. A process of the same user that nobody
    /// logged in for cannot be told from it, so its calls are denied at once instead
    /// of waiting for a yes that would be refused.
    pub fn set_approver(&mut self, uid: u32) {
        self.approver_uid = Some(uid);
    }

    /// Sets what holds for all requests for approval from now on.
    pub fn set_approval_config(&mut self, config: ApprovalConfig) {
        self.approval_config = config;
    }

    /// What holds for all requests for approval.
    pub fn approval_config(&self) -> &ApprovalConfig {
        &self.approval_config
    }

    /// Every request that still matters, and those used since, oldest first.
    pub fn approvals(&self) -> impl Iterator<Item = &Approval> {
        self.approvals.iter()
    }

    /// The request with this number; `None` once its time is over.
    pub fn approval(&self, id: DecisionId) -> Option<&Approval> {
        self.approvals.get(id)
    }

    /// A person decides. A yes must come from somebody else than all who ask; a
    /// no opens nothing and may come from anyone.
    pub fn decide_approval(
        &mut self,
        id: DecisionId,
        by: Person,
        yes: bool,
        note: Option<String>,
        now: Now,
    ) -> Result<(Vec<JournalEntry>, AuditBody), ApprovalError> {
        let verdict = PersonsVerdict {
            by,
            yes,
            note,
            denied_memory_s: self.approval_config.denied_memory_s,
        };
        let hash = self.policy.hash();
        let approval = self.approvals.decide(id, verdict, hash, now)?;
        let audit = AuditBody::approval(approval, None);
        let journal = vec![JournalEntry::Approval(Box::new(approval.clone()))];
        Ok((journal, audit))
    }

    /// Ends every request whose time is over, and every one that a policy asked
    /// for which is no longer in force.
    pub fn expire_approvals(&mut self, now: Now) -> (Vec<JournalEntry>, Vec<AuditBody>) {
        let expired = self.approvals.expire(self.policy.hash(), now.boot_ns);
        let audit = expired
            .iter()
            .map(|approval| AuditBody::approval(approval, None));
        let audit = audit.collect();
        let journal = expired
            .into_iter()
            .map(|approval| JournalEntry::Approval(Box::new(approval)));
        (journal.collect(), audit)
    }

    pub(super) fn open_approval(
        &mut self,
        id: DecisionId,
        governing: &Governing<'_>,
        binding: Binding,
        call: &Call<'_>,
    ) -> Result<Approval, Refusal> {
        let asking = || {
            let enforced = governing.applied.iter();
            let enforced = enforced.filter(|rule| rule.mode == RuleMode::Enforce);
            enforced.filter_map(asks_for_approval)
        };
        let ttl_s = asking().filter_map(|rule| rule.approval_timeout_s).min();
        let ttl_s = ttl_s.unwrap_or(self.approval_config.ttl_s);
        let request = call.request;
        let approval = Approval {
            id,
            binding,
            state: ApprovalState::Pending,
            requester: request.caller.person(),
            also_asked: Vec::new(),
            vm_name: match &request.target {
                Target::None => None,
                Target::Unknown(name) | Target::Unchecked(name) => Some(name.clone()),
                Target::Vm(vm) => Some(vm.name.clone()),
            },
            arguments: cut(request.arguments.canonical()),
            reason: request.reason.clone(),
            agent: request.caller.agent.clone(),
            rule: asking()
                .next()
                .map(|rule| rule.pointer.clone())
                .unwrap_or_default(),
            opened: call.now,
            deadline_ns: call.now.boot_ns.saturating_add(i64::from(ttl_s) * NS_PER_S),
            decided_by: None,
            note: None,
        };
        let cap = self.approval_config.cap_of(&approval.binding.grant);
        let opened = self.approvals.open(approval.clone(), cap, call.now.boot_ns);
        match opened {
            Ok(()) => Ok(approval),
            Err(error) => Err(self.may_not_ask(error, &approval.binding, &approval.rule)),
        }
    }

    /// Notes that the caller asks for this request too. Returns it where that is
    /// news.
    pub(super) fn join_approval(
        &mut self,
        id: DecisionId,
        approval: DecisionId,
        call: &Call<'_>,
    ) -> Option<Approval> {
        let person = call.request.caller.person();
        self.approvals.join(approval, &person, id).cloned()
    }

    pub(super) fn waits_message(
        &self,
        approval: &Approval,
        expires_in_ms: u64,
        call: &Call<'_>,
    ) -> String {
        let reason = self.approval_reason(&approval.rule);
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        let former = self
            .approvals
            .of_former_policy(&approval.binding, call.now.boot_ns)
            .map_or_else(String::new, |former| {
                format!(
                    "; the policy has changed since request {}, which counts no more",
                    former.id
                )
            });
        let id = approval.id;
        format!(
            "{} waits for a person's approval{reason}: `vmward approvals approve {id}` within {}, \
             then make the same call again{former}",
            message::call(call.request),
            message::seconds(expires_in_ms)
        )
    }

    /// What the policy says why a person must be asked.
    fn approval_reason(&self, pointer: &str) -> Option<&str> {
        let policy = &self.policy;
        let rules = policy.tools().map(|(_, rule)| rule);
        let rules = rules.chain(policy.effects.values());
        let rules = rules.chain(&policy.all_tools);
        let mut rules = rules.chain(policy.protected.iter().map(|entry| &entry.rule));
        let rule = rules.find(|rule| rule.pointer == pointer)?;
        rule.reason.as_deref()
    }
}

impl Caller {
    /// Who it is, for who may ask, approve and use.
    pub(super) fn person(&self) -> Person {
        Person {
            uid: self.uid,
            loginuid: self.loginuid,
        }
    }
}

/// The arguments as a person is shown them. Who approves must not take a part for
/// the whole.
fn cut(arguments: &str) -> String {
    let shown: String = arguments.chars().take(ARGUMENTS_CHARS_MAX).collect();
    match arguments.chars().skip(ARGUMENTS_CHARS_MAX).count() {
        0 => shown,
        more => format!("{shown}... ({more} characters more)"),
    }
}
