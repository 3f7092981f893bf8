//! A record of the audit log as text.
//!
//! Nearly every record is a decision's, and its caller waits until it has a copy
//! (see [`crate::audit_log`]): it is written as [`vmward_wire::text`] says. What
//! is written here is, byte for byte, [`AuditBody::text`].

use vmward_core::audit::{AuditBody, CallerRecord, DecisionRecord};
use vmward_core::ids::Process;
use vmward_wire::text::Text;

/// Room for a record; most are shorter. An allocator has pieces of up to 1032
/// bytes at hand.
const TEXT_BYTES: usize = 1000;

/// The record as a JSON object.
pub(crate) fn text(body: &AuditBody) -> Vec<u8> {
    let AuditBody::Decision(record) = body else {
        return body.text();
    };
    let mut text = Text::with_room(TEXT_BYTES);
    match decision(&mut text, record) {
        Ok(()) => text.into_bytes(),
        // It knows what to do about a record that cannot be written.
        Err(_) => body.text(),
    }
}

fn decision(text: &mut Text, record: &DecisionRecord) -> serde_json::Result<()> {
    // Named one by one, so that none is forgotten.
    let DecisionRecord {
        decision,
        decision_id,
        reason_code,
        tool,
        via,
        server,
        arguments,
        effect,
        claimed,
        vm,
        caller: who,
        rule,
        message,
        reason,
        lease,
        approval,
        shadow,
        policy_hash,
        args_digest,
        recovered,
        journalled,
        charges,
        decided,
    } = record;
    text.member(r#"{"kind":"decision","decision":"#, decision)?;
    text.member(r#","decision_id":"#, decision_id)?;
    text.member(r#","reason_code":"#, reason_code)?;
    text.string(r#","tool":""#, tool)?;
    text.member(r#","via":"#, via)?;
    text.optional_string(r#","server":""#, server.as_ref())?;
    text.optional_string(r#","arguments":""#, arguments.as_ref())?;
    text.optional(r#","effect":"#, effect.as_ref())?;
    text.optional(r#","claimed":"#, claimed.then_some(&true))?;
    text.optional(r#","vm":"#, vm.as_ref())?;
    caller(text, who)?;
    text.string(r#","rule":""#, rule)?;
    text.string(r#","message":""#, message)?;
    text.optional_string(r#","reason":""#, reason.as_ref())?;
    text.optional(r#","lease":"#, lease.as_ref())?;
    text.optional(r#","approval":"#, approval.as_ref())?;
    text.optional(r#","shadow":"#, shadow.as_ref())?;
    text.string(r#","policy_hash":""#, policy_hash)?;
    text.string(r#","args_digest":""#, args_digest)?;
    text.member(r#","recovered":"#, recovered)?;
    text.optional(r#","journalled":"#, journalled.then_some(&true))?;
    text.optional(r#","charges":"#, charges.as_ref())?;
    text.optional_string(r#","decided":""#, decided.as_ref())?;
    text.copy("}");
    Ok(())
}

fn caller(text: &mut Text, caller: &CallerRecord) -> serde_json::Result<()> {
    let CallerRecord {
        grant,
        process: Process { pid, start_ticks },
        uid,
        comm,
        exe,
        agent,
        unit,
    } = caller;
    text.string(r#","caller":{"grant":""#, grant)?;
    text.member(r#","pid":"#, pid)?;
    text.member(r#","start_ticks":"#, start_ticks)?;
    text.member(r#","uid":"#, uid)?;
    text.string(r#","comm":""#, comm)?;
    text.optional_string(r#","exe":""#, exe.as_ref())?;
    text.optional_string(r#","agent":""#, agent.as_ref())?;
    text.optional_string(r#","unit":""#, unit.as_ref())?;
    text.copy("}");
    Ok(())
}

#[cfg(test)]
mod tests;
