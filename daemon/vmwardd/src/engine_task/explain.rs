//! Questions that change nothing: why a call would be allowed or denied, and
//! which tools an agent should see.

use serde_json::Value;
use vmward_core::clock::Now;
use vmward_core::engine::Visibility;
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1;
use vmward_wire::v1::explain::ExplainResult;
use vmward_wire::v1::tools::{HiddenTool, TOOLS_MAX, ToolsFilterParams, ToolsFilterResult};

use super::CallerFacts;
use super::authorize::NAME_CHARS_MAX;
use super::shell::Shell;
use crate::convert;

impl Shell {
    /// What `authorize` would say to the same parameters now.
    pub(super) fn explain(
        &self,
        params: v1::AuthorizeParams,
        caller: CallerFacts,
        now: Now,
    ) -> Result<ExplainResult, ErrorObject> {
        let holder = caller.process;
        let request = self.understand(params, caller, holder, now)?;
        let explained = self.engine.explain(&request, now);
        let rules = explained.rules.into_iter().map(|rule| {
            // Its word in JSON; the engine has no other.
            let applies = match serde_json::to_value(rule.applies) {
                Ok(Value::String(word)) => word,
                Ok(_) | Err(_) => String::new(),
            };
            convert::wire_rule(rule, applies)
        });
        Ok(ExplainResult {
            decision: convert::wire_verdict(explained.decision),
            reason_code: convert::wire_reason(explained.reason_code),
            message: explained.message,
            rule: explained.rule,
            grant: explained.grant,
            effect: explained.effect.map(convert::wire_effect),
            mapped_by: explained.mapped_by,
            vm: explained.vm,
            rules: rules.collect(),
            shadow: explained.shadow.as_ref().map(convert::wire_shadow),
            policy_hash: self.engine.policy().hash().to_owned(),
        })
    }

    /// Which of these tools an agent should see.
    pub(super) fn filter(
        &self,
        params: &ToolsFilterParams,
        caller: CallerFacts,
    ) -> Result<ToolsFilterResult, ErrorObject> {
        let ToolsFilterParams { tools, server } = params;
        if tools.len() > TOOLS_MAX {
            return Err(invalid(format!(
                "`tools` has {} names; at most {TOOLS_MAX} are taken, so ask twice",
                tools.len()
            )));
        }
        let mut names = tools.iter().chain(server);
        if names.any(|name| name.is_empty() || name.chars().count() > NAME_CHARS_MAX) {
            return Err(invalid(format!(
                "each of `tools`, and `server`, must have 1 to {NAME_CHARS_MAX} characters"
            )));
        }
        let caller = convert::caller(caller, None);
        let mut visible = Vec::new();
        let mut hidden = Vec::new();
        for (tool, visibility) in self.engine.filter(tools, &caller, server.as_deref()) {
            match visibility {
                Visibility::Visible => visible.push(tool),
                Visibility::Hidden { reason_code, rule } => hidden.push(HiddenTool {
                    tool,
                    reason_code: convert::wire_reason(reason_code),
                    rule,
                }),
            }
        }
        Ok(ToolsFilterResult {
            visible,
            hidden,
            policy_hash: self.engine.policy().hash().to_owned(),
        })
    }
}

fn invalid(message: String) -> ErrorObject {
    ErrorObject::new(ErrorCode::InvalidParams, message)
}
