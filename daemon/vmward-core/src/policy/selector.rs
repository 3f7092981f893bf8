//! Which VMs.

use std::{collections::BTreeMap, str::Chars};

use super::{facts::VmFacts, names::is_pattern};
use crate::ids::VmUuid;

/// Picks VMs: whatever is given must match; an empty selector picks all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// This VM. A VM whose UUID is not known is never it.
    pub uuid: Option<VmUuid>,
    /// VMs of such a name: `*` stands for any text, `?` for one character.
    pub name: Option<String>,
    /// VMs with all of these labels in their metadata.
    pub labels: BTreeMap<String, String>,
}

impl Selector {
    /// Does it pick this VM?
    pub fn picks(&self, vm: &VmFacts<'_>) -> bool {
        let uuid = self
            .uuid
            .is_none_or(|uuid| vm.uuid.and_then(|text| text.parse().ok()) == Some(uuid));
        let name = self
            .name
            .as_ref()
            .is_none_or(|pattern| glob(pattern, vm.name));
        let mut labels = self.labels.iter();
        uuid && name && labels.all(|(key, value)| vm.labels.get(key) == Some(value))
    }

    /// Does it pick every VM?
    pub(super) fn picks_all(&self) -> bool {
        self.picks_all_of(&Selector::default())
    }

    /// Does it pick every VM that `other` picks? False also where only a look at
    /// the two patterns' meaning would tell.
    pub(super) fn picks_all_of(&self, other: &Selector) -> bool {
        let uuid = self.uuid.is_none() || self.uuid == other.uuid;
        let name = self.name.as_ref().is_none_or(|pattern| {
            is_any_name(pattern)
                || other.name.as_ref().is_some_and(|inner| {
                    // A name without a wildcard is one VM's.
                    inner == pattern || !is_pattern(inner) && glob(pattern, inner)
                })
        });
        let mut labels = self.labels.iter();
        uuid && name && labels.all(|(key, value)| other.labels.get(key) == Some(value))
    }

    /// As in `name "db-*" and label tier = "prod"`.
    pub fn describe(&self) -> String {
        let uuid = self.uuid.iter().map(|uuid| format!("uuid {uuid}"));
        let name = self.name.iter().map(|name| format!("name {name:?}"));
        let labels = self
            .labels
            .iter()
            .map(|(key, value)| format!("label {key} = {value:?}"));
        let parts: Vec<String> = uuid.chain(name).chain(labels).collect();
        if parts.is_empty() {
            "any VM".to_owned()
        } else {
            parts.join(" and ")
        }
    }
}

/// Does the pattern match every name?
pub(super) fn is_any_name(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*')
}

/// Does the whole text match the pattern? `*` stands for any text, none
/// included, `?` for one character; case counts.
///
/// Only the last `*` is ever tried again: what stood before it matched at the
/// earliest place, and no later place could leave more room for the rest. So the
/// work is at most pattern times text, never exponential.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (mut rest, mut left) = (pattern.chars(), text.chars());
    // After the last star: the pattern, and the text that it has not taken yet.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (before, mut ahead) = (left.clone(), left.clone());
        match (rest.next(), ahead.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((rest.clone(), before));
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                left = ahead;
                continue;
            }
            _ => {}
        }
        // A mismatch: the star takes one character more.
        let Some((after_star, untaken)) = &mut star else {
            return false;
        };
        if untaken.next().is_none() {
            return false;
        }
        (rest, left) = (after_star.clone(), untaken.clone());
    }
}

#[cfg(test)]
mod tests;
