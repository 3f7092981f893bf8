//! The answer to `authorize`, written as a line at once.
//!
//! [`Response::ok_line`] writes any result. Nearly every answer is one to
//! `authorize`, and its caller waits: see [`crate::text`]. What is written here is,
//! byte for byte, what `ok_line` writes.
//!
//! [`Response::ok_line`]: crate::rpc::Response::ok_line

use super::{AuthorizeResult, LimitState};
use crate::{
    frame::{self, FrameError},
    rpc::Id,
    text::Text,
};

/// The whole line, with its line feed.
pub fn write_answer(id: &Id, result: &AuthorizeResult) -> Result<Vec<u8>, FrameError> {
    let mut line = Text::with_room(frame::ANSWER_BYTES);
    match answer(&mut line, id, result) {
        Ok(()) => Ok(line.into_bytes()),
        Err(error) => Err(FrameError::Json {
            reason: error.to_string(),
        }),
    }
}

fn answer(line: &mut Text, id: &Id, result: &AuthorizeResult) -> serde_json::Result<()> {
    // Named one by one, so that none is forgotten.
    let AuthorizeResult {
        decision,
        decision_id,
        reason_code,
        message,
        rule,
        limits: all_limits,
        retry_after_ms,
        lease,
        approval,
        shadow,
        args_digest,
        policy_hash,
    } = result;
    line.member(r#"{"jsonrpc":"2.0","id":"#, id)?;
    line.member(r#","result":{"decision":"#, decision)?;
    line.member(r#","decision_id":"#, decision_id)?;
    line.member(r#","reason_code":"#, reason_code)?;
    line.string(r#","message":""#, message)?;
    line.string(r#","rule":""#, rule)?;
    limits(line, all_limits)?;
    line.optional(r#","retry_after_ms":"#, retry_after_ms.as_ref())?;
    line.optional(r#","lease":"#, lease.as_ref())?;
    line.optional(r#","approval":"#, approval.as_ref())?;
    line.optional(r#","shadow":"#, shadow.as_ref())?;
    line.string(r#","args_digest":""#, args_digest)?;
    line.string(r#","policy_hash":""#, policy_hash)?;
    line.copy("}}\n");
    Ok(())
}

fn limits(line: &mut Text, limits: &[LimitState]) -> serde_json::Result<()> {
    line.copy(r#","limits":["#);
    for (index, limit) in limits.iter().enumerate() {
        let LimitState {
            counter,
            key,
            window_s,
            max,
            remaining,
            next_free_in_ms,
        } = limit;
        if index > 0 {
            line.copy(",");
        }
        line.string(r#"{"counter":""#, counter)?;
        line.string(r#","key":""#, key)?;
        line.member(r#","window_s":"#, window_s)?;
        line.member(r#","max":"#, max)?;
        line.member(r#","remaining":"#, remaining)?;
        line.member(r#","next_free_in_ms":"#, next_free_in_ms)?;
        line.copy("}");
    }
    line.copy("]");
    Ok(())
}

#[cfg(test)]
mod tests;
