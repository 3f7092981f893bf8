//! Which VMs.

use std::collections::BTreeMap;

use super::facts::VmFacts;
use crate::ids::VmUuid;

/// Picks VMs: whatever is given must match; an empty selector picks all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// This VM.
    pub uuid: Option<VmUuid>,
    /// VMs of such a name: `*` stands for any text, `?` for one character.
    pub name: Option<String>,
    /// VMs with all of these labels in their metadata.
    pub labels: BTreeMap<String, String>,
}

impl Selector {
    /// Does it pick this VM?
    pub fn picks(&self, _vm: &VmFacts<'_>) -> bool {
        false
    }
}
