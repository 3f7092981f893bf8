//! The audit record of a decision, as far as the request fills it.

use super::{Engine, ReasonCode, Request, Target, Via, govern::is_mapped};
use crate::{
    audit::{ARGUMENTS_BYTES_MAX, CallerRecord, DecisionRecord, Verdict, VmRef},
    ids::DecisionId,
};

impl Engine {
    pub(super) fn record(&self, request: Request, id: DecisionId) -> DecisionRecord {
        let claimed = request.via == Via::Tool && !is_mapped(&request);
        let caller = request.caller;
        let (arguments, args_digest) = request.arguments.into_texts();
        DecisionRecord {
            decision: Verdict::Deny,
            decision_id: id,
            reason_code: ReasonCode::Unavailable,
            tool: request.tool,
            via: request.via,
            server: request.server,
            arguments: Some(arguments)
                .filter(|text| self.records_arguments && text.len() <= ARGUMENTS_BYTES_MAX),
            effect: request.effect,
            claimed,
            vm: match request.target {
                Target::None => None,
                Target::Unknown(name) | Target::Unchecked(name) => Some(VmRef { uuid: None, name }),
                Target::Vm(vm) => Some(VmRef {
                    uuid: Some(vm.uuid),
                    name: vm.name,
                }),
            },
            caller: CallerRecord {
                grant: caller.grant,
                process: caller.process,
                uid: caller.uid,
                comm: caller.comm,
                exe: caller.exe,
                agent: caller.agent,
                unit: caller.unit,
            },
            rule: String::new(),
            message: String::new(),
            reason: request.reason,
            lease: None,
            approval: None,
            shadow: None,
            policy_hash: self.policy.hash().to_owned(),
            args_digest,
            recovered: false,
            journalled: false,
            charges: None,
            decided: None,
        }
    }
}
