//! The one place where yes or no is said.

use super::{
    Authorized, Decision, Denial, Engine, LEASES_MAX, LimitRow, Permit, ReasonCode, Request,
    Target, VmTarget, message, recent::RecentDecision, scope_key, want,
};
use crate::{
    audit::{AuditBody, CallerRecord, DecisionRecord, LeaseNote, Verdict, VmRef},
    clock::{self, NS_PER_MS, Now},
    effect,
    ids::{DecisionId, Process},
    journal::{AllowEntry, JournalEntry},
    lease::{Lease, LeaseState},
    limit::{Charge, LimitError, Want},
    policy::{LimitRule, Rule},
};

/// What a denial says, before it has a number.
struct Refusal {
    reason: ReasonCode,
    message: String,
    rule: String,
    limits: Vec<LimitRow>,
    retry_after_ms: Option<u64>,
}

impl Refusal {
    fn new(reason: ReasonCode, message: String, rule: &str) -> Self {
        Self {
            reason,
            message,
            rule: rule.to_owned(),
            limits: Vec::new(),
            retry_after_ms: None,
        }
    }
}

/// The rules that govern a call.
struct Governing<'a> {
    /// As a JSON Pointer, for the answer.
    rule: String,
    limits: Vec<&'a LimitRule>,
}

impl Engine {
    /// May this happen now? An allow is charged and its lease counts as live at
    /// once; both are taken back by [`Engine::undo`].
    pub fn authorize(&mut self, request: &Request, now: Now) -> Authorized {
        let id = self.take_id();
        match self.judge(request, id, now) {
            Ok((permit, wants, lease)) => self.allowed(request, permit, &wants, lease, now),
            Err(refusal) => self.denied(request, id, refusal),
        }
    }

    /// Forgets an allow that could not be written down and was not answered.
    pub fn undo(&mut self, id: DecisionId) {
        self.limiter.forget(id);
        self.leases.remove(&id);
        self.recent.remove(id);
    }

    /// Every check before the charge, in the order in which a caller can do
    /// something about them.
    fn judge(
        &mut self,
        request: &Request,
        id: DecisionId,
        now: Now,
    ) -> Result<(Permit, Vec<Want>, Option<Lease>), Refusal> {
        let governing = self.govern(request)?;
        let Governing { rule, limits } = governing;
        let running = check_target(request, &rule)?;
        if let Some((vm, _)) = running {
            self.check_free(vm, &rule, now)?;
        }
        let wants = wants(&limits, &request.caller.grant);
        let pointers: Vec<(String, String)> = limits
            .iter()
            .map(|limit| (limit.pointer.clone(), limit.window.with_article()))
            .collect();
        if let Err(error) = self.limiter.reserve(&wants, id, now.boot_ns) {
            return Err(self.limited(request, &wants, &pointers, error, now));
        }
        let lease = running
            .filter(|(vm, _)| vm.protected)
            .and_then(|(vm, process)| {
                let effect = request.effect?;
                Some(Lease {
                    id,
                    vm: vm.uuid,
                    vm_name: vm.name.clone(),
                    process,
                    effect,
                    holder: request.holder,
                    deadline_ns: now
                        .boot_ns
                        .saturating_add(i64::from(effect.ttl_ms()) * NS_PER_MS),
                    state: LeaseState::Granted,
                    grant: request.caller.grant.clone(),
                    begun: false,
                })
            });
        let limits: Vec<LimitRow> = wants.iter().map(|want| self.row(want, now)).collect();
        let message = message::allowed(request, &limits, lease.as_ref());
        Ok((
            Permit {
                id,
                message,
                rule,
                limits,
            },
            wants,
            lease,
        ))
    }

    /// The tool's own rule, and, where the caller claims an effect that the
    /// effect map does not give this tool, the rule of that effect's tool: a
    /// harmless tool's name must not open the door to a stop.
    fn govern(&self, request: &Request) -> Result<Governing<'_>, Refusal> {
        let own = self.rule_for(&request.tool)?;
        let mut limits: Vec<&LimitRule> = own.iter().flat_map(|rule| &rule.limits).collect();
        if let Some(effect) = request.effect
            && effect.tool() != request.tool
        {
            let canonical = if effect::is_native(&request.tool, effect) {
                self.policy.tool(effect.tool())
            } else {
                self.rule_for(effect.tool())?
            };
            for limit in canonical.iter().flat_map(|rule| &rule.limits) {
                match limits
                    .iter_mut()
                    .find(|other| other.counter == limit.counter)
                {
                    Some(other) if other.max > limit.max => *other = limit,
                    Some(_) => {}
                    None => limits.push(limit),
                }
            }
        }
        let rule = own.map_or("/default", |rule| &rule.pointer).to_owned();
        Ok(Governing { rule, limits })
    }

    fn rule_for(&self, tool: &str) -> Result<Option<&Rule>, Refusal> {
        let rule = self.policy.tool(tool);
        if rule.is_none() && !self.policy.default_allow() {
            let message =
                format!("no rule names {tool:?} and the policy denies what it does not name");
            return Err(Refusal::new(ReasonCode::DefaultDeny, message, "/default"));
        }
        Ok(rule)
    }

    /// One VM, one live lease.
    fn check_free(&self, vm: &VmTarget, rule: &str, now: Now) -> Result<(), Refusal> {
        let live = self
            .leases
            .values()
            .find(|lease| lease.vm == vm.uuid && lease.state.is_live());
        if let Some(lease) = live {
            let wait_ms = clock::ceil_ms(lease.deadline_ns.saturating_sub(now.boot_ns));
            let message = message::busy(&vm.name, lease, wait_ms);
            let mut refusal = Refusal::new(ReasonCode::LeaseBusy, message, rule);
            refusal.retry_after_ms = Some(wait_ms);
            return Err(refusal);
        }
        if self.leases.len() >= LEASES_MAX {
            let message = format!("{LEASES_MAX} leases are live, which is all there is room for");
            return Err(Refusal::new(ReasonCode::Unavailable, message, rule));
        }
        Ok(())
    }

    fn limited(
        &self,
        request: &Request,
        wants: &[Want],
        pointers: &[(String, String)],
        error: LimitError,
        now: Now,
    ) -> Refusal {
        let limits = wants.iter().map(|want| self.row(want, now)).collect();
        let (index, retry_after_ns) = match error {
            LimitError::Exceeded {
                index,
                retry_after_ns,
            } => (index, retry_after_ns),
            LimitError::NeverFits { index } => {
                let pointer = pointers.get(index).map_or("", |(pointer, _)| pointer);
                let max = wants.get(index).map_or(0, |want| want.max);
                let message = format!("this call counts more than the {max} that its limit allows");
                return Refusal {
                    limits,
                    ..Refusal::new(ReasonCode::RateLimited, message, pointer)
                };
            }
            LimitError::Full => {
                let message = "the limiter has no room for another counter".to_owned();
                return Refusal {
                    limits,
                    ..Refusal::new(ReasonCode::Unavailable, message, "")
                };
            }
        };
        let retry_after_ms = clock::ceil_ms(retry_after_ns);
        let (pointer, a_window) = pointers.get(index).cloned().unwrap_or_default();
        let max = wants.get(index).map_or(0, |want| want.max);
        let message = message::limited(request, max, &a_window, retry_after_ms);
        let retry_after_ms = Some(retry_after_ms);
        Refusal {
            limits,
            retry_after_ms,
            ..Refusal::new(ReasonCode::RateLimited, message, &pointer)
        }
    }

    fn allowed(
        &mut self,
        request: &Request,
        permit: Permit,
        wants: &[Want],
        lease: Option<Lease>,
        now: Now,
    ) -> Authorized {
        let id = permit.id;
        match &lease {
            Some(lease) => {
                self.leases.insert(id, lease.clone());
            }
            // Nothing could ever prove that such a call did not happen.
            None => self.limiter.commit(id),
        }
        let grant = request.caller.grant.clone();
        self.recent.insert(RecentDecision {
            id,
            grant,
            reported: false,
        });
        let mut record = self.record(request, id);
        record.decision = Verdict::Allow;
        record.reason_code = ReasonCode::Allowed;
        record.rule.clone_from(&permit.rule);
        record.message.clone_from(&permit.message);
        record.lease = lease.as_ref().map(|lease| LeaseNote {
            holder: lease.holder,
            deadline_ns: lease.deadline_ns,
        });
        let audit = AuditBody::Decision(Box::new(record));
        let charges = wants.iter().map(Charge::from).collect();
        let entry = AllowEntry {
            id,
            at: now,
            charges,
            lease: lease.clone(),
            audit: audit.clone(),
        };
        let journal = vec![JournalEntry::Allow(Box::new(entry))];
        Authorized {
            decision: Decision::Allow(permit),
            journal,
            audit,
            lease,
            shadow: None,
        }
    }

    fn denied(&self, request: &Request, id: DecisionId, refusal: Refusal) -> Authorized {
        let mut record = self.record(request, id);
        record.reason_code = refusal.reason;
        record.rule.clone_from(&refusal.rule);
        record.message.clone_from(&refusal.message);
        let Refusal {
            reason,
            message,
            rule,
            limits,
            retry_after_ms,
        } = refusal;
        Authorized {
            decision: Decision::Deny(Denial {
                id,
                reason,
                message,
                rule,
                limits,
                retry_after_ms,
            }),
            journal: Vec::new(),
            audit: AuditBody::Decision(Box::new(record)),
            lease: None,
            shadow: None,
        }
    }

    fn record(&self, request: &Request, id: DecisionId) -> DecisionRecord {
        let caller = &request.caller;
        DecisionRecord {
            decision: Verdict::Deny,
            decision_id: id,
            reason_code: ReasonCode::Unavailable,
            tool: request.tool.clone(),
            effect: request.effect,
            vm: match &request.target {
                Target::None => None,
                Target::Unknown(name) | Target::Unchecked(name) => Some(VmRef {
                    uuid: None,
                    name: name.clone(),
                }),
                Target::Vm(vm) => Some(VmRef {
                    uuid: Some(vm.uuid),
                    name: vm.name.clone(),
                }),
            },
            caller: CallerRecord {
                grant: caller.grant.clone(),
                process: caller.process,
                uid: caller.uid,
                comm: caller.comm.clone(),
                exe: caller.exe.clone(),
                agent: caller.agent.clone(),
                unit: caller.unit.clone(),
            },
            rule: String::new(),
            message: String::new(),
            reason: request.reason.clone(),
            lease: None,
            policy_hash: self.policy.hash().to_owned(),
            args_digest: request.args_digest.clone(),
            recovered: false,
        }
    }
}

/// Is there something to do the effect to? The VM and its process where the
/// call needs a lease.
fn check_target<'a>(
    request: &'a Request,
    rule: &str,
) -> Result<Option<(&'a VmTarget, Process)>, Refusal> {
    let refuse = |reason, message| Err(Refusal::new(reason, message, rule));
    match (&request.target, request.effect) {
        (Target::Unknown(name), _) => refuse(
            ReasonCode::VmUnknown,
            format!("there is no VM {name:?} on this host"),
        ),
        (Target::None, Some(_)) => refuse(
            ReasonCode::VmUnknown,
            format!("{} does not say which VM", request.tool),
        ),
        (Target::Vm(vm), Some(effect)) => match vm.process {
            Some(process) => Ok(Some((vm, process))),
            // Deleting is for VMs that are off, too.
            None if effect == effect::Effect::Delete => Ok(None),
            None => refuse(
                ReasonCode::VmNotRunning,
                format!("{} is not running", vm.name),
            ),
        },
        (Target::None | Target::Unchecked(_) | Target::Vm(_), _) => Ok(None),
    }
}

fn wants(limits: &[&LimitRule], grant: &str) -> Vec<Want> {
    limits
        .iter()
        .map(|limit| want(limit, scope_key(limit.scope, grant)))
        .collect()
}
