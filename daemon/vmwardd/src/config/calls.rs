//! `rpc-refusal` and `[arming]`: which calls are refused where a client sends
//! them to libvirt.

use serde::Deserialize;

use super::check::Wrong;
use crate::kernel::CallRules;

/// What happens to a clear stop without lease where a client sends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RpcRefusal {
    /// The client's send is refused: its connection is lost, and nothing reaches
    /// libvirt.
    Clear,
    /// libvirt gets the call, and is refused what it does about it: the client
    /// gets libvirt's own error and keeps its connection.
    #[default]
    Off,
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArmingConfig {
    /// Calls that make a later stop possible and are refused without a lease;
    /// the others are recorded.
    pub refuse: Vec<String>,
}

impl Default for ArmingConfig {
    fn default() -> ArmingConfig {
        let names = ["set-lifecycle-action", "autodestroy", "node-suspend"];
        ArmingConfig {
            refuse: names.map(str::to_owned).to_vec(),
        }
    }
}

impl ArmingConfig {
    /// The same for the kernel.
    pub(super) fn rules(&self, stops: RpcRefusal) -> CallRules {
        CallRules {
            refuse_stops: stops == RpcRefusal::Clear,
            refuse_arming: self.refuse.clone(),
        }
    }

    /// Says which names are wrong and which there are.
    pub(super) fn check(&self) -> Vec<Wrong> {
        let mut names: Vec<&str> = CallRules::arming_names().collect();
        names.sort_unstable();
        names.dedup();
        let unknown = self.refuse.iter().enumerate();
        let unknown = unknown.filter(|(_, name)| !names.contains(&name.as_str()));
        let wrong = unknown.map(|(index, name)| {
            let what = format!(
                "arming.refuse: there is no call {name:?}; there are {}",
                names.join(", ")
            );
            Wrong {
                item: Some(index),
                ..Wrong::new(&["arming", "refuse"], what)
            }
        });
        wrong.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::super::{Config, RpcRefusal};
    use std::path::Path;

    fn parse(text: &str) -> Result<Config, super::super::ConfigError> {
        Config::parse(text, Path::new("vmward.toml"))
    }

    #[test]
    fn a_call_that_does_not_exist_is_refused_with_those_that_do() {
        let error = parse("[arming]\nrefuse = [\"undefined\"]").unwrap_err();
        let text = message(&error);
        assert!(text.contains("no call \"undefined\""), "{text}");
        assert!(text.contains("undefine, update-device"), "{text}");
    }

    #[test]
    fn the_client_is_refused_only_where_the_file_says_so() {
        assert!(!parse("").unwrap().call_rules().refuse_stops);
        let clear = parse("rpc-refusal = \"clear\"\n[arming]\nrefuse = []").unwrap();
        assert_eq!(clear.rpc_refusal, RpcRefusal::Clear);
        assert!(clear.call_rules().refuse_stops);
        assert!(clear.call_rules().refuse_arming.is_empty());
    }
}
