//! The call that a command asks about: a tool's, or an effect on a VM or the host.

use clap::Args;
use serde_json::{Map, Value};
use vmward_wire::v1::{AuthorizeParams, Effect};

use super::{parse_arguments, parse_effect};

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The tool to be called
    #[arg(long, required_unless_present_any = ["effect", "host"], conflicts_with = "effect")]
    pub(crate) tool: Option<String>,
    /// The tool's arguments, as a JSON object
    #[arg(long, value_name = "JSON", requires = "tool", value_parser = parse_arguments)]
    pub(crate) args: Option<Map<String, Value>>,
    /// The MCP server that offers the tool
    #[arg(long, requires = "tool")]
    pub(crate) server: Option<String>,
    /// The effect, for a caller that names no tool
    #[arg(long, requires = "vm", value_parser = parse_effect)]
    effect: Option<Effect>,
    /// The effect `host_reboot`: this host is restarted, halted or given another kernel at once
    #[arg(long, conflicts_with_all = ["tool", "effect", "vm"])]
    host: bool,
    /// The VM, by name or UUID
    #[arg(long)]
    pub(crate) vm: Option<String>,
}

impl CallArgs {
    /// The effect that was named, or the one that `--host` stands for.
    pub(crate) fn effect(&self) -> Option<Effect> {
        effect_or_host(self.effect, self.host)
    }

    /// What the daemon is asked.
    pub(crate) fn params(self) -> AuthorizeParams {
        AuthorizeParams {
            effect: self.effect(),
            tool: self.tool,
            server: self.server,
            arguments: self.args.unwrap_or_default(),
            vm: self.vm,
            ..AuthorizeParams::default()
        }
    }
}

/// The effect that was named, or the one that `--host` stands for.
pub(crate) fn effect_or_host(effect: Option<Effect>, host: bool) -> Option<Effect> {
    if host {
        Some(Effect::HostReboot)
    } else {
        effect
    }
}
