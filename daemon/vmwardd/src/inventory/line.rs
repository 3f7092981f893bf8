//! What `vmward-inventory` writes: one JSON object a line.
//!
//! A look is a line for each domain and one that says how many they were; it is
//! always sent whole, so that nothing has to be remembered on either side. With
//! 1,000 domains that is some 100 KB a look.

use serde::{Deserialize, Serialize};
use vmward_core::ids::VmUuid;

use super::Labels;

/// Most bytes of a line: the longest labels, each character escaped, and room.
pub const LINE_BYTES_MAX: usize = 128 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Line {
    /// A domain of the look that is under way.
    Domain(Seen),
    /// The look is complete.
    Looked {
        /// How many domains there are.
        domains: usize,
    },
    /// libvirt cannot be asked; a look that is under way is void.
    Gone {
        /// Why.
        error: String,
    },
}

/// A domain, in libvirt's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Seen {
    /// The identity.
    pub uuid: VmUuid,
    /// The name.
    pub name: String,
    /// What it does.
    pub run: SeenRun,
    /// Why its guest stands still, where it runs and does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// From its metadata.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Why the labels cannot be read, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_fault: Option<String>,
}

/// What libvirt says that a domain does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenRun {
    /// Not running.
    Off,
    /// Running.
    Running,
    /// It starts, ends or is being migrated; says which.
    Unsettled(String),
    /// libvirt does not say; why.
    Unknown(String),
}
