//! The audit record of a decision, as far as the request fills it.

use super::{Engine, ReasonCode, Request, Target, Via, govern::is_mapped};
use crate::{
    audit::{ARGUMENTS_BYTES_MAX, CallerRecord, DecisionRecord, Verdict, VmRef},
    digest::canonical,
    ids::DecisionId,
};

impl Engine {
    pub(super) fn record(&self, request: &Request, id: DecisionId) -> DecisionRecord {
        let caller = &request.caller;
        DecisionRecord {
            decision: Verdict::Deny,
            decision_id: id,
            reason_code: ReasonCode::Unavailable,
            tool: request.tool.clone(),
            via: request.via,
            server: request.server.clone(),
            arguments: self
                .records_arguments
                .then(|| canonical(&request.arguments))
                .filter(|text| text.len() <= ARGUMENTS_BYTES_MAX),
            effect: request.effect,
            claimed: request.via == Via::Tool && !is_mapped(request),
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
            approval: None,
            shadow: None,
            policy_hash: self.policy.hash().to_owned(),
            args_digest: request.args_digest.clone(),
            recovered: false,
            journalled: false,
            decided: None,
        }
    }
}
