//! Protection that people take away and put back. Taking it away follows the
//! order of a lease: journal, audit, kernel, answer. Putting it back does not
//! wait for a disk: the kernel hears of it first.

use vmward_core::audit::AuditBody;
use vmward_core::clock::{NS_PER_MS, NS_PER_S, Now};
use vmward_core::disarm::{DISARM_MS_MAX, Disarm, DisarmedVm, Operator};
use vmward_core::engine::{Rearmed, Target};
use vmward_core::ids::Process;
use vmward_core::journal::JournalEntry;
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1::disarm::{ArmParams, ArmResult, DisarmParams, Disarmed};

use super::Reply;
use super::authorize::TEXT_CHARS_MAX;
use super::batch::Batch;
use super::shell::{Shell, chain};
use super::start::StartError;
use crate::counters::count;
use crate::kernel::KernelError;
use crate::{convert, process};

/// What a person wants of the protection.
#[derive(Debug)]
pub enum ProtectionCall {
    /// Take it away.
    Disarm {
        /// As the caller sent them.
        params: DisarmParams,
        /// Who.
        by: Operator,
        /// Where the answer goes.
        reply: Reply<Disarmed>,
    },
    /// Put it back.
    Arm {
        /// As the caller sent them.
        params: ArmParams,
        /// Who.
        by: Operator,
        /// Where the answer goes.
        reply: Reply<ArmResult>,
    },
}

/// What waits for its round to be durable.
pub(super) enum Reprotected {
    /// Taken away: the kernel does not know yet.
    Disarmed {
        disarm: Box<Disarm>,
        /// What it takes the place of.
        former: Option<Box<Disarm>>,
        audit: AuditBody,
        reply: Reply<Disarmed>,
    },
    /// Put back, in the kernel, too.
    Armed {
        answer: ArmResult,
        audit: Vec<AuditBody>,
        reply: Reply<ArmResult>,
    },
}

/// What a person means.
enum Aim {
    Host,
    Vm(DisarmedVm),
}

impl Aim {
    fn process(&self) -> Option<Process> {
        match self {
            Aim::Host => None,
            Aim::Vm(vm) => Some(vm.process),
        }
    }
}

impl Shell {
    pub(super) fn protection(&mut self, call: ProtectionCall, now: Now, batch: &mut Batch) {
        match call {
            ProtectionCall::Disarm { params, by, reply } => {
                match self.new_disarm(params, by, now) {
                    Ok(disarm) => self.disarm(disarm, reply, batch),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            ProtectionCall::Arm { params, by, reply } => match self.armed(&params, &by, now) {
                Ok(rearmed) => self.arm(rearmed, reply, now, batch),
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    fn new_disarm(
        &self,
        params: DisarmParams,
        by: Operator,
        now: Now,
    ) -> Result<Disarm, ErrorObject> {
        let DisarmParams {
            vm,
            all,
            reason,
            for_ms,
        } = params;
        check_reason(&reason)?;
        if for_ms.is_some_and(|ms| ms == 0 || ms > DISARM_MS_MAX) {
            let message = format!("`for_ms` must be 1 to {DISARM_MS_MAX}");
            return Err(ErrorObject::new(ErrorCode::InvalidParams, message));
        }
        let aim = self.aim_at(vm.as_deref(), all)?;
        if let Some(fault) = self.fault() {
            let message = format!("vmward cannot write it down now: {fault}");
            return Err(ErrorObject::new(ErrorCode::Unavailable, message));
        }
        let until_ns = for_ms.map(|ms| {
            let time_ns = i64::try_from(ms).unwrap_or(i64::MAX);
            now.boot_ns
                .saturating_add(time_ns.saturating_mul(NS_PER_MS))
        });
        Ok(Disarm {
            vm: match aim {
                Aim::Host => None,
                Aim::Vm(vm) => Some(vm),
            },
            by,
            reason,
            since: now,
            until_ns,
        })
    }

    fn disarm(&mut self, disarm: Disarm, reply: Reply<Disarmed>, batch: &mut Batch) {
        let (journal, audit, former) = self.engine.disarm(disarm.clone());
        batch.journal(journal);
        batch.reprotected(Reprotected::Disarmed {
            disarm: Box::new(disarm),
            former: former.map(Box::new),
            audit,
            reply,
        });
    }

    fn armed(
        &mut self,
        params: &ArmParams,
        by: &Operator,
        now: Now,
    ) -> Result<Rearmed, ErrorObject> {
        if let Some(reason) = &params.reason {
            check_reason(reason)?;
        }
        let aim = self.aim_at(params.vm.as_deref(), params.all)?;
        let reason = params.reason.as_deref();
        Ok(self.engine.arm(aim.process(), by, reason, now))
    }

    fn arm(&mut self, rearmed: Rearmed, reply: Reply<ArmResult>, now: Now, batch: &mut Batch) {
        let armed = rearmed.ended.iter();
        let armed = armed.map(|disarm| convert::wire_disarm(disarm, now));
        let host = self.engine.disarms().get(None);
        let answer = ArmResult {
            armed: armed.collect(),
            host: host.map(|disarm| convert::wire_disarm(disarm, now)),
        };
        match self.rearm(&rearmed.ended) {
            Ok(()) => {
                batch.journal(rearmed.journal);
                let audit = rearmed.audit;
                batch.reprotected(Reprotected::Armed {
                    answer,
                    audit,
                    reply,
                });
            }
            Err(error) => {
                take_down(rearmed, batch);
                let message = format!("the kernel was not told: {}", chain(&error));
                drop(reply.send(Err(ErrorObject::new(ErrorCode::Unavailable, message))));
            }
        }
    }

    /// Tells the kernel what is protected again.
    fn rearm(&mut self, ended: &[Disarm]) -> Result<(), KernelError> {
        let mut outcome = Ok(());
        for disarm in ended {
            let what = disarm.vm.as_ref().map_or("the host", |vm| &vm.name);
            tracing::info!(what, "protected again");
            if let Err(error) = self.tell_disarm(disarm.process()) {
                outcome = Err(error);
            }
        }
        if let Err(error) = &outcome {
            count(&self.counters.kernel_errors);
            self.complain("kernel", error);
        }
        outcome
    }

    /// Makes the kernel have what the engine has about a VM, or the host.
    fn tell_disarm(&mut self, of: Option<Process>) -> Result<(), KernelError> {
        let Some(process) = of else {
            let disarm = self.engine.disarms().get(None);
            return self.kernel.disarm_host(disarm.map_or(0, until_ns));
        };
        let until_s = self.disarmed_until_s(process);
        self.kernel.disarm_vm(process, until_s)?;
        self.vms.disarmed_until(process, until_s);
        Ok(())
    }

    /// Until when the VM alone is disarmed, as the kernel's row has it.
    pub(super) fn disarmed_until_s(&self, process: Process) -> u32 {
        let disarm = self.engine.disarms().get(Some(process));
        disarm.map_or(0, until_s)
    }

    /// Ends those whose time is over. The kernel knows already.
    pub(super) fn expire_disarms(&mut self, now: Now, batch: &mut Batch) {
        let rearmed = self.engine.expire_disarms(now);
        // Complained about, and no harm: the kernel goes by its own deadline.
        let _told = self.rearm(&rearmed.ended);
        take_down(rearmed, batch);
    }

    /// Answers, once it is durable; only then does the kernel let go.
    pub(super) fn conclude_reprotected(
        &mut self,
        reprotected: Vec<Reprotected>,
        durable: bool,
        now: Now,
    ) {
        for one in reprotected {
            match one {
                Reprotected::Disarmed {
                    disarm,
                    former,
                    audit,
                    reply,
                } if durable => {
                    drop(former);
                    self.audit.append(audit, now);
                    drop(reply.send(self.let_go(&disarm, now)));
                }
                Reprotected::Disarmed {
                    disarm,
                    former,
                    reply,
                    ..
                } => {
                    self.engine
                        .undo_disarm(&disarm, former.map(|former| *former));
                    count(&self.counters.unavailable);
                    let message = "it could not be made durable; nothing was disarmed";
                    drop(reply.send(Err(ErrorObject::new(ErrorCode::Unavailable, message))));
                }
                Reprotected::Armed {
                    answer,
                    audit,
                    reply,
                } => {
                    for body in audit {
                        self.audit.append(body, now);
                    }
                    if durable {
                        drop(reply.send(Ok(answer)));
                        continue;
                    }
                    let message = "protected again, but it could not be made durable: a restart of \
                                   vmwardd brings the disarm back until its end";
                    drop(reply.send(Err(ErrorObject::new(ErrorCode::Unavailable, message))));
                }
            }
        }
    }

    fn let_go(&mut self, disarm: &Disarm, now: Now) -> Result<Disarmed, ErrorObject> {
        let what = disarm.vm.as_ref().map_or("the host", |vm| &vm.name);
        let (uid, reason) = (disarm.by.person.uid, &disarm.reason);
        if let Err(error) = self.tell_disarm(disarm.process()) {
            count(&self.counters.kernel_errors);
            self.complain("kernel", &error);
            let why = "the kernel was not told";
            self.engine.undo_disarm(disarm, None);
            // With the next round is soon enough: a start makes the kernel agree.
            self.waiting.journal(vec![JournalEntry::Armed {
                process: disarm.process(),
                at: now,
            }]);
            let body = AuditBody::armed(disarm, &disarm.by, Some(why.to_owned()));
            self.audit.append(body, now);
            let message = format!("{why}, nothing was disarmed: {}", chain(&error));
            return Err(ErrorObject::new(ErrorCode::Unavailable, message));
        }
        tracing::warn!(what, uid, reason, "DISARMED: stops are no longer refused");
        count(&self.counters.disarms);
        Ok(convert::wire_disarm(disarm, now))
    }

    /// What a former daemon left disarmed stays so; the kernel agrees with the
    /// journal, and what only the kernel has is over.
    pub(super) fn adopt_disarms(&mut self, now: Now, batch: &mut Batch) -> Result<(), StartError> {
        self.expire_disarms(now, batch);
        let known: Vec<Disarm> = self.engine.disarms().iter().cloned().collect();
        for disarm in &known {
            match disarm.process() {
                Some(ended) if !process::is_alive(ended) => {
                    take_down(self.engine.disarm_ended(ended, now), batch);
                }
                _ => batch.audit(AuditBody::still_disarmed(disarm)),
            }
        }
        let rows = self.kernel.protected()?;
        for row in rows.iter().map(|state| &state.protected) {
            if row.disarmed_until_s != self.disarmed_until_s(row.process) {
                let what = format!("process {}", row.process.pid);
                self.make_agree(Some(row.process), &what, batch)?;
            }
        }
        let host = self.engine.disarms().get(None).map_or(0, until_ns);
        if self.kernel.host_disarmed_until()? != host {
            self.make_agree(None, "the host", batch)?;
        }
        Ok(())
    }

    fn make_agree(
        &mut self,
        of: Option<Process>,
        what: &str,
        batch: &mut Batch,
    ) -> Result<(), StartError> {
        self.tell_disarm(of)?;
        let detail = format!("kernel and journal differed about the disarm of {what}");
        tracing::warn!(detail, "the kernel follows the journal");
        batch.audit(AuditBody::daemon("disarm-corrected", Some(detail)));
        Ok(())
    }

    fn aim_at(&self, vm: Option<&str>, all: bool) -> Result<Aim, ErrorObject> {
        let name = match (vm, all) {
            (None, true) => return Ok(Aim::Host),
            (Some(name), false) => name,
            _ => {
                let message = "either `vm` must be given, or `all`";
                return Err(ErrorObject::new(ErrorCode::InvalidParams, message));
            }
        };
        let why = match self.vms.resolve(name, true) {
            Target::Vm(vm) => match vm.process {
                Some(process) if vm.protected => {
                    return Ok(Aim::Vm(DisarmedVm {
                        uuid: vm.uuid,
                        name: vm.name,
                        process,
                    }));
                }
                Some(_) => format!("{name} is not under protection; vmward status says why"),
                None => format!("{name} does not run: there is nothing to protect"),
            },
            Target::Unchecked(_) => "this daemon watches no hypervisor".to_owned(),
            _ => format!("there is no VM {name} on this host"),
        };
        Err(ErrorObject::new(ErrorCode::NotFound, why))
    }
}

fn take_down(rearmed: Rearmed, batch: &mut Batch) {
    batch.journal(rearmed.journal);
    for body in rearmed.audit {
        batch.audit(body);
    }
}

fn check_reason(reason: &str) -> Result<(), ErrorObject> {
    if reason.trim().is_empty() || reason.chars().count() > TEXT_CHARS_MAX {
        let message = format!("`reason` must have 1 to {TEXT_CHARS_MAX} characters");
        return Err(ErrorObject::new(ErrorCode::InvalidParams, message));
    }
    Ok(())
}

/// For the kernel: without a deadline, for ever.
fn until_ns(disarm: &Disarm) -> u64 {
    match disarm.until_ns {
        Some(until) => u64::try_from(until).unwrap_or(0),
        None => u64::MAX,
    }
}

/// The same in seconds, rounded up.
fn until_s(disarm: &Disarm) -> u32 {
    let seconds = until_ns(disarm).div_ceil(NS_PER_S.unsigned_abs());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
