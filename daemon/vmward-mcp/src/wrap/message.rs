//! What the proxy makes of one line from the client, without IO.
//!
//! The wrapped server may read JSON more loosely than vmward: take the last
//! of two equal keys, or take `Name` for `name`. So only what every reader
//! understands alike gets through, and what goes on is the value that was
//! judged, written anew, never the client's own bytes.

use serde_json::{Map, Value, json};
use vmward_wire::{
    frame,
    rpc::{self, ErrorCode, ErrorObject, Id, Response},
};

/// The method that calls a tool.
pub(super) const TOOLS_CALL: &str = "tools/call";

/// Members that a JSON-RPC message may have.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// Members of a call's parameters that decide what it does.
const CALL_MEMBERS: [&str; 2] = ["name", "arguments"];

/// What to do with a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// Goes to the server.
    Forward(Value),
    /// Goes to the server once the policy says yes.
    Call(ToolCall),
    /// Goes back to the client, and no further.
    Refuse(Response),
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolCall {
    /// Ties the answer to the call.
    pub(super) id: Id,
    /// The tool.
    pub(super) tool: String,
    /// Its arguments; empty where there are none.
    pub(super) arguments: Map<String, Value>,
    /// The whole message.
    pub(super) value: Value,
}

impl Message {
    /// Reads one line.
    pub(super) fn parse(line: &[u8]) -> Self {
        let value = match frame::parse(line) {
            Ok(value) => value,
            Err(error) => return refuse(None, ErrorCode::Parse, error.to_string()),
        };
        let members = match &value {
            Value::Object(members) => members,
            Value::Array(_) => {
                let message = "Batches are not supported: send one message a line";
                return refuse(None, ErrorCode::InvalidRequest, message);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return refuse(
                    None,
                    ErrorCode::InvalidRequest,
                    "A message is a JSON object",
                );
            }
        };
        let id = members
            .get("id")
            .and_then(|id| rpc::parse_id(id.clone()).ok());
        if let Some(key) = members.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
            let message = format!("Unknown member {}", Value::from(key.as_str()));
            return refuse(id, ErrorCode::InvalidRequest, message);
        }
        match members.get("method") {
            Some(Value::String(method)) if has_control(method) => {
                let message = "`method` contains a control character";
                refuse(id, ErrorCode::UnknownMethod, message)
            }
            Some(Value::String(method)) if method == TOOLS_CALL => Self::call(value, id),
            Some(Value::String(method)) if fold(method.trim()) == TOOLS_CALL => {
                let message = format!("Write the method as {TOOLS_CALL:?}");
                refuse(id, ErrorCode::UnknownMethod, message)
            }
            // Without method: an answer to one of the server's own requests.
            None | Some(Value::String(_)) => Self::Forward(value),
            Some(_) => refuse(id, ErrorCode::InvalidRequest, "`method` must be a string"),
        }
    }

    fn call(value: Value, id: Option<Id>) -> Self {
        let Some(id) = id else {
            let message = "A tool call needs an `id` that is a string or a whole number";
            return refuse(None, ErrorCode::InvalidRequest, message);
        };
        let invalid = |message: String| refuse(Some(id.clone()), ErrorCode::InvalidParams, message);
        let Some(Value::Object(params)) = value.get("params") else {
            return invalid("`params` must be an object".to_owned());
        };
        if let Some(key) = params.keys().find(|key| {
            let folded = fold(key);
            CALL_MEMBERS
                .iter()
                .any(|member| folded == *member && key != member)
        }) {
            return invalid(format!(
                "Write {} in small letters",
                Value::from(key.as_str())
            ));
        }
        if let Some(key) = ambiguous_key(&value) {
            return invalid(format!(
                "Two keys differ from {} only in case",
                Value::from(key)
            ));
        }
        if let Some(key) = control_key(&value) {
            return invalid(format!(
                "The key {} contains a control character",
                Value::from(key)
            ));
        }
        let Some(Value::String(tool)) = params.get("name") else {
            return invalid("`name` must be a string".to_owned());
        };
        if has_control(tool) {
            return invalid("`name` contains a control character".to_owned());
        }
        let arguments = match params.get("arguments") {
            None => Map::new(),
            Some(Value::Object(arguments)) => arguments.clone(),
            Some(_) => return invalid("`arguments` must be an object".to_owned()),
        };
        let tool = tool.clone();
        Self::Call(ToolCall {
            id,
            tool,
            arguments,
            value,
        })
    }
}

/// An answer to `id` with a result.
pub(super) fn result(id: Id, result: Value) -> Response {
    Response {
        id: Some(id),
        outcome: Ok(result),
    }
}

/// The id that a line from the server answers, where it is an answer at all,
/// and what it says about success.
pub(super) fn answered(line: &[u8]) -> Option<(Id, &'static str)> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let members = value.as_object()?;
    if members.contains_key("method") {
        return None;
    }
    let id = rpc::parse_id(members.get("id")?.clone()).ok()?;
    let failed = value.pointer("/result/isError") == Some(&json!(true));
    let said = match members.contains_key("error") {
        true => "the server answered with an error",
        false if failed => "the server answered that the tool failed",
        false => "the server answered that the tool succeeded",
    };
    Some((id, said))
}

/// What the client asked of the server, where the proxy must see the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The answer has the server's name.
    Initialize,
    /// The answer has the tools, of which an agent should not see all.
    ToolsList,
}

/// The id of such a request.
pub(super) fn asked(value: &Value) -> Option<(Id, Asked)> {
    let asked = match value.get("method")?.as_str()? {
        "initialize" => Asked::Initialize,
        "tools/list" => Asked::ToolsList,
        _ => return None,
    };
    Some((rpc::parse_id(value.get("id")?.clone()).ok()?, asked))
}

/// The id of the request that the client does not want answered any more, where the
/// message says that.
pub(super) fn cancelled(value: &Value) -> Option<Id> {
    let is_that = value.get("method") == Some(&json!("notifications/cancelled"));
    let id = value.pointer("/params/requestId").filter(|_| is_that)?;
    rpc::parse_id(id.clone()).ok()
}

/// The server's name, in its answer to `initialize`.
pub(super) fn server_name(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let name = answer.pointer("/result/serverInfo/name")?;
    name.as_str().map(str::to_owned)
}

/// The names in an answer to `tools/list`, and the answer.
pub(super) fn tools(answer: &[u8]) -> Option<(Value, Vec<String>)> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let tools = answer.pointer("/result/tools")?.as_array()?.iter();
    let names = tools.filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned));
    let names = names.collect();
    Some((answer, names))
}

/// Leaves only the tools with these names in an answer to `tools/list`.
pub(super) fn keep(answer: &mut Value, visible: &[String]) {
    let tools = answer.pointer_mut("/result/tools");
    if let Some(tools) = tools.and_then(Value::as_array_mut) {
        tools.retain(|tool| {
            let name = tool.get("name").and_then(Value::as_str);
            name.is_some_and(|name| visible.iter().any(|other| other == name))
        });
    }
}

/// The client's name, where the message is its `initialize`.
pub(super) fn client_name(value: &Value) -> Option<String> {
    let initialize = value.get("method") == Some(&json!("initialize"));
    let name = value
        .pointer("/params/clientInfo/name")
        .filter(|_| initialize)?;
    name.as_str().map(str::to_owned)
}

fn refuse(id: Option<Id>, code: ErrorCode, message: impl Into<String>) -> Message {
    Message::Refuse(Response::error(id, ErrorObject::new(code, message)))
}

/// A key of which its object holds a second one that differs in case only.
fn ambiguous_key(value: &Value) -> Option<&str> {
    match value {
        Value::Object(members) => {
            let mut seen = std::collections::HashSet::new();
            let twice = members.keys().find(|key| !seen.insert(fold(key)));
            twice
                .map(String::as_str)
                .or_else(|| members.values().find_map(ambiguous_key))
        }
        Value::Array(items) => items.iter().find_map(ambiguous_key),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A key that a reader whose texts end at the first NUL would take for another.
fn control_key(value: &Value) -> Option<&str> {
    match value {
        Value::Object(members) => {
            let key = members.keys().find(|key| has_control(key));
            key.map(String::as_str)
                .or_else(|| members.values().find_map(control_key))
        }
        Value::Array(items) => items.iter().find_map(control_key),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Makes texts equal that a case-insensitive reader takes for equal. Upper
/// case first: only so the long s and the Kelvin sign become plain letters.
fn fold(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests;
