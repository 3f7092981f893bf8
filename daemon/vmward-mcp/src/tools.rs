//! The three tools: their descriptions and their arguments.

use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::virsh::Identifier;

/// A call whose arguments are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `vm_list`
    List,
    /// `vm_start`
    Start(Identifier),
    /// `vm_stop`
    Stop(Identifier, Stop),
}

/// How a VM is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest is asked.
    Graceful,
    /// The power is cut.
    Force,
}

impl Stop {
    /// The virsh command.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Graceful => "shutdown",
            Self::Force => "destroy",
        }
    }
}

impl Call {
    /// Reads a call; the error says what is wrong with it. `None`: no such
    /// tool.
    pub fn parse(tool: &str, arguments: &Map<String, Value>) -> Option<Result<Self, String>> {
        match tool {
            "vm_list" => Some(read::<NoArguments>(arguments).map(|_| Self::List)),
            "vm_start" => Some(
                read::<StartArguments>(arguments)
                    .and_then(|start| identifier(&start.identifier))
                    .map(Self::Start),
            ),
            "vm_stop" => Some(read::<StopArguments>(arguments).and_then(|stop| {
                let how = if stop.force {
                    Stop::Force
                } else {
                    Stop::Graceful
                };
                Ok(Self::Stop(identifier(&stop.identifier)?, how))
            })),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartArguments {
    identifier: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopArguments {
    identifier: String,
    #[serde(default)]
    force: bool,
}

fn read<'de, A: Deserialize<'de>>(arguments: &'de Map<String, Value>) -> Result<A, String> {
    A::deserialize(arguments).map_err(|error| error.to_string())
}

fn identifier(text: &str) -> Result<Identifier, String> {
    Identifier::parse(text).map_err(str::to_owned)
}

/// What `tools/list` shows. Nothing is hidden by policy: a denied call says
/// why, a missing tool would not.
pub fn list() -> Vec<Tool> {
    let identifier = json!({
        "type": "string",
        "description": "The VM's libvirt domain name or UUID",
    });
    vec![
        tool(
            "vm_list",
            "List the virtual machines of this host with their states",
            json!({ "type": "object", "properties": {}, "additionalProperties": false }),
        )
        .annotate(ToolAnnotations::new().read_only(true).open_world(false)),
        tool(
            "vm_start",
            "Start a virtual machine",
            json!({
                "type": "object",
                "properties": { "identifier": identifier },
                "required": ["identifier"],
                "additionalProperties": false,
            }),
        )
        .annotate(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(false)
                .open_world(false),
        ),
        tool(
            "vm_stop",
            "Stop a running virtual machine and wait until it has stopped. Limited by the host's \
             policy: a refusal says how long to wait",
            json!({
                "type": "object",
                "properties": {
                    "identifier": identifier,
                    "force": {
                        "type": "boolean",
                        "default": false,
                        "description": "Cut the power instead of asking the guest to shut down",
                    },
                },
                "required": ["identifier"],
                "additionalProperties": false,
            }),
        )
        .annotate(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(true)
                .open_world(false),
        ),
    ]
}

fn tool(name: &'static str, description: &'static str, schema: Value) -> Tool {
    let schema = match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    Tool::new(name, description, Arc::new(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(tool: &str, arguments: &Value) -> Option<Result<Call, String>> {
        Call::parse(tool, arguments.as_object().unwrap())
    }

    #[test]
    fn a_stop_is_graceful_unless_force_is_true() {
        let web = Identifier::parse("web-1").unwrap();
        let graceful = parse("vm_stop", &json!({ "identifier": "web-1" }));
        assert_eq!(graceful, Some(Ok(Call::Stop(web.clone(), Stop::Graceful))));
        let forced = parse("vm_stop", &json!({ "identifier": "web-1", "force": true }));
        assert_eq!(forced, Some(Ok(Call::Stop(web, Stop::Force))));
    }

    #[test]
    fn arguments_that_the_tool_does_not_have_are_refused() {
        for arguments in [
            json!({}),
            json!({ "identifier": 1 }),
            json!({ "identifier": "web-1", "force": "yes" }),
            json!({ "identifier": "web-1", "Force": true }),
            json!({ "identifier": "--all" }),
        ] {
            assert!(
                parse("vm_stop", &arguments).unwrap().is_err(),
                "{arguments}"
            );
        }
        assert!(parse("vm_list", &json!({ "all": true })).unwrap().is_err());
        assert_eq!(parse("vm_destroy", &json!({})), None);
    }

    #[test]
    fn every_listed_tool_can_be_called() {
        for tool in list() {
            assert!(parse(&tool.name, &json!({})).is_some(), "{}", tool.name);
        }
    }
}
