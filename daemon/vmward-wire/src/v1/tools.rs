//! `tools.filter`: which tools an agent should see.

use serde::{Deserialize, Serialize};

use super::ReasonCode;

/// Most tools in one question.
pub const TOOLS_MAX: usize = 1000;

/// Parameters of `tools.filter`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsFilterParams {
    /// The tools that a server offers, at most [`TOOLS_MAX`].
    pub tools: Vec<String>,
    /// The MCP server that offers them, by the name that the effect map knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// Result of `tools.filter`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToolsFilterResult {
    /// Tools that some call may be allowed of, in the order of the question.
    pub visible: Vec<String>,
    /// Tools of which every call is denied, each with the reason.
    pub hidden: Vec<HiddenTool>,
    /// SHA-256 of the policy in force.
    pub policy_hash: String,
}

/// A tool of which every call is denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenTool {
    /// The tool.
    pub tool: String,
    /// Why, as a code.
    pub reason_code: ReasonCode,
    /// The rule that denies it, as a JSON Pointer into the policy.
    pub rule: String,
}
