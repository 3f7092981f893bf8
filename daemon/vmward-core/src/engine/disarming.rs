//! Protection that people take away and put back: see [`crate::disarm`].

use super::{Engine, types::Rearmed};
use crate::{
    audit::{AuditBody, ProtectionEvent},
    clock::Now,
    disarm::{Disarm, Disarms, Operator},
    ids::Process,
    journal::JournalEntry,
};

impl Engine {
    /// What is disarmed now.
    pub fn disarms(&self) -> &Disarms {
        &self.disarms
    }

    /// Takes protection away. To be made durable, then told to the kernel, then
    /// answered; where it cannot be made durable, [`Engine::undo_disarm`] takes
    /// it back. Gives the former one of the same thing as well.
    pub fn disarm(&mut self, disarm: Disarm) -> (Vec<JournalEntry>, AuditBody, Option<Disarm>) {
        let audit = AuditBody::disarmed(&disarm);
        let journal = vec![JournalEntry::Disarm(Box::new(disarm.clone()))];
        let former = self.disarms.put(disarm);
        (journal, audit, former)
    }

    /// A disarm that is not durable was never one. Nothing happens where
    /// something else has ended it, or taken its place, meanwhile.
    pub fn undo_disarm(&mut self, disarm: &Disarm, former: Option<Disarm>) {
        if self.disarms.get(disarm.process()) != Some(disarm) {
            return;
        }
        self.disarms.remove(disarm.process());
        if let Some(former) = former {
            self.disarms.put(former);
        }
    }

    /// A person puts protection back: that of one VM's process, or, where `of`
    /// is `None`, that of the host and of every VM. What it gives must be told
    /// to the kernel at once, whatever becomes of the journal.
    pub fn arm(
        &mut self,
        of: Option<Process>,
        by: &Operator,
        reason: Option<&str>,
        now: Now,
    ) -> Rearmed {
        let ended = match of {
            Some(_) => self.disarms.remove(of).into_iter().collect(),
            None => self.disarms.take_all(),
        };
        let audit = |disarm: &Disarm| AuditBody::armed(disarm, by, reason.map(str::to_owned));
        rearmed(ended, now, audit)
    }

    /// Puts back what was taken away until now.
    pub fn expire_disarms(&mut self, now: Now) -> Rearmed {
        let due = self.disarms.take_due(now);
        let audit = |disarm: &Disarm| AuditBody::disarm_over(disarm, ProtectionEvent::Expired);
        rearmed(due, now, audit)
    }

    /// The VM's process is gone, and with it its disarm.
    pub fn disarm_ended(&mut self, process: Process, now: Now) -> Rearmed {
        let ended = self.disarms.remove(Some(process)).into_iter().collect();
        let audit = |disarm: &Disarm| AuditBody::disarm_over(disarm, ProtectionEvent::Ended);
        rearmed(ended, now, audit)
    }
}

fn rearmed(ended: Vec<Disarm>, now: Now, audit: impl Fn(&Disarm) -> AuditBody) -> Rearmed {
    Rearmed {
        journal: ended
            .iter()
            .map(|disarm| JournalEntry::Armed {
                process: disarm.process(),
                at: now,
            })
            .collect(),
        audit: ended.iter().map(audit).collect(),
        ended,
    }
}
