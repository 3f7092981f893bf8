//! What the agent gets to see: text for the model, structured content for
//! programs, and whether the call failed.

use std::error::Error;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};
use vmward_wire::{client::ClientError, v1::AuthorizeResult};

/// The result of one tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For the model.
    pub text: String,
    /// For programs.
    pub structured: Value,
    /// True unless the call did what it was called for.
    pub is_error: bool,
}

impl Answer {
    /// The call did what it was called for.
    pub fn done(text: String, structured: Value) -> Self {
        Self {
            text,
            structured,
            is_error: false,
        }
    }

    /// The call was allowed, but did not do what it was called for.
    pub fn failed(text: String, structured: Value) -> Self {
        Self {
            text,
            structured,
            is_error: true,
        }
    }

    /// The arguments make no sense; nobody was asked.
    pub fn invalid(tool: &str, reason: &str) -> Self {
        Self::failed(
            format!("{tool} was not called: {reason}"),
            json!({ "error": "invalid-arguments", "message": reason }),
        )
    }

    /// The policy says no, or not yet.
    pub fn denied(tool: &str, verdict: &AuthorizeResult) -> Self {
        if let Some(approval) = &verdict.approval {
            return Self::failed(
                format!(
                    "vmward holds {tool} back: a person must approve it first (request {}, open \
                     for {} s). Tell the user, and call {tool} again with the same arguments \
                     when it is approved.",
                    approval.id,
                    approval.expires_in_ms.div_ceil(1000)
                ),
                structured(verdict),
            );
        }
        let wait = match verdict.retry_after_ms {
            Some(ms) => format!(" Retry after {} s.", ms.div_ceil(1000)),
            None => String::new(),
        };
        Self::failed(
            format!(
                "vmward denied {tool}: {}.{wait}",
                verdict.message.trim_end_matches('.')
            ),
            structured(verdict),
        )
    }

    /// Nobody could say yes, so the answer is no.
    pub fn unasked(tool: &str, error: &ClientError) -> Self {
        let message = chain(error);
        Self::failed(
            format!("vmward denied {tool}, because the policy could not be asked: {message}"),
            json!({ "decision": "deny", "reason_code": "unavailable", "message": message }),
        )
    }

    /// As the `result` member of an answer to `tools/call`.
    pub fn into_result(self) -> Value {
        json!({
            "content": [{ "type": "text", "text": self.text }],
            "structuredContent": self.structured,
            "isError": self.is_error,
        })
    }
}

fn structured(verdict: &AuthorizeResult) -> Value {
    let mut members = json!({
        "decision": verdict.decision,
        "decision_id": verdict.decision_id,
        "reason_code": verdict.reason_code,
        "message": verdict.message,
        "retry_after_ms": verdict.retry_after_ms,
        "rule": verdict.rule,
        "limits": verdict.limits,
    });
    if let (Some(approval), Some(members)) = (&verdict.approval, members.as_object_mut()) {
        members.insert("approval".to_owned(), json!(approval));
    }
    members
}

impl From<Answer> for CallToolResult {
    fn from(answer: Answer) -> Self {
        let content = vec![ContentBlock::text(answer.text)];
        let mut result = if answer.is_error {
            Self::error(content)
        } else {
            Self::success(content)
        };
        result.structured_content = Some(answer.structured);
        result
    }
}

/// An error with all its causes on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_gives_the_reason_the_wait_and_the_same_as_data() {
        let verdict: AuthorizeResult = serde_json::from_value(json!({
            "decision": "deny", "decision_id": 8, "reason_code": "rate-limited",
            "message": "vm_stop is limited to 10 a minute", "rule": "/tools/vm_stop/limits/0",
            "limits": [], "retry_after_ms": 40_001, "args_digest": "", "policy_hash": "",
        }))
        .unwrap();
        let result = Answer::denied("vm_stop", &verdict).into_result();
        assert_eq!(
            result["content"][0]["text"],
            "vmward denied vm_stop: vm_stop is limited to 10 a minute. Retry after 41 s."
        );
        assert_eq!(result["isError"], true);
        assert_eq!(result["structuredContent"]["reason_code"], "rate-limited");
        assert_eq!(result["structuredContent"]["retry_after_ms"], 40_001);
    }

    #[test]
    fn a_call_that_waits_for_a_person_says_so_and_to_call_again() {
        let verdict: AuthorizeResult = serde_json::from_value(json!({
            "decision": "pending", "decision_id": 8, "reason_code": "approval-required",
            "message": "vm_stop of web-1 waits", "rule": "/tools/vm_stop", "limits": [],
            "approval": {"id": 8, "expires_in_ms": 899_001}, "args_digest": "", "policy_hash": "",
        }))
        .unwrap();
        let result = Answer::denied("vm_stop", &verdict).into_result();
        assert_eq!(result["isError"], true);
        let text = result["content"][0]["text"].as_str().unwrap();
        for part in [
            "a person must approve",
            "request 8",
            "900 s",
            "call vm_stop again",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let approval = &result["structuredContent"]["approval"];
        assert_eq!(approval, &json!({"id": 8, "expires_in_ms": 899_001}));
    }

    #[test]
    fn a_daemon_that_cannot_be_asked_is_a_denial_that_says_how_to_start_it() {
        let error = ClientError::NotRunning {
            path: "/run/vmward/policy.sock".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        let answer = Answer::unasked("vm_stop", &error);
        assert!(answer.is_error);
        assert!(
            answer.text.contains("systemctl start vmwardd"),
            "{}",
            answer.text
        );
        assert_eq!(answer.structured["decision"], "deny");
    }
}
