//! Stops that nobody asked for: what they count.

use serde_json::Map;

use super::{
    Caller, Engine, LimitRow, Request, Target, Via, VmTarget,
    charge::{Charged, in_any_mode},
    govern::{Call, govern, uuid_text},
};
use crate::{
    clock::{LocalTime, Now},
    digest::Arguments,
    effect::Effect,
    ids::Process,
    journal::JournalEntry,
    limit::{Charge, Want},
    policy::{Scope, map::Mapped},
};

impl Engine {
    /// Charges a stop that happened beside the gateway to every limit that an
    /// `effect` on this VM by this user and grant would have been charged to: once
    /// each, for good, and also where no room is left. Returns what to
    /// make durable, and those limits as they stand then. Nothing when no limit
    /// applies.
    ///
    /// Limits of a session or an agent stay as they are: nobody knows whose it
    /// was.
    pub fn charge_out_of_band(
        &mut self,
        effect: Effect,
        vm: &VmTarget,
        actor_uid: u32,
        grant: String,
        now: Now,
    ) -> (Vec<JournalEntry>, Vec<LimitRow>) {
        let request = stop_by(effect, vm, actor_uid, grant);
        let policy = std::sync::Arc::clone(&self.policy);
        let uuid = uuid_text(&request);
        let call = Call::new(&request, uuid.as_deref(), now);
        let governing = govern(&policy, &call);
        let mut charged: Vec<Charged<'_>> = in_any_mode(&governing.applied, &call);
        charged.retain(|one| !matches!(one.limit.scope, Scope::Session | Scope::Agent));
        if charged.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let wants: Vec<Want> = charged.iter().map(|one| one.want.clone()).collect();
        let id = self.take_id();
        let counted = self.limiter.charge(&wants, id, now.boot_ns).is_ok();
        let journal = counted.then(|| JournalEntry::OutOfBand {
            id,
            at: now,
            charges: wants.iter().map(Charge::from).collect(),
        });
        (journal.into_iter().collect(), self.rows(&charged, now))
    }
}

/// The call that was not made.
fn stop_by(effect: Effect, vm: &VmTarget, actor_uid: u32, grant: String) -> Request {
    let nobody = Process {
        pid: 0,
        start_ticks: 0,
    };
    Request {
        tool: effect.tool().to_owned(),
        via: Via::Effect,
        server: None,
        arguments: Arguments::new(Map::new()),
        mapped: Mapped::Harmless { vm: None },
        effect: Some(effect),
        target: Target::Vm(vm.clone()),
        caller: Caller {
            grant,
            process: nobody,
            uid: actor_uid,
            comm: String::new(),
            exe: None,
            agent: None,
            unit: None,
            loginuid: None,
        },
        holder: nobody,
        reason: None,
        local: LocalTime::default(),
    }
}
