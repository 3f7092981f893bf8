//! The policy's host rules as the kernel can hold them: whom each names, by
//! user, inode and cgroup, and what stands in its way.
//!
//! What they name is looked up again and again: a unit has a cgroup only while
//! it runs, and an update of a package brings another inode.

mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vmward_core::digest::sha256_hex;
use vmward_core::policy::host::HostRule;
use vmward_core::policy::{Policy, RuleMode};

use crate::engine_task::chain;
use crate::executable;
use crate::kernel::Actor;

pub use self::watch::start as watch;

/// The cgroup v2 hierarchy.
const CGROUPS: &str = "/sys/fs/cgroup";
/// How deep slices are searched for a unit, and how many folders at most.
const DEPTH_MAX: u32 = 6;
const FOLDERS_MAX: usize = 4096;

/// One rule, ready for the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Bits of its effects; 0 for a rule that stays out of the kernel.
    pub effects: u32,
    /// Everybody it names and that is there now.
    pub actors: BTreeSet<Actor>,
    /// What is not there, one sentence each.
    pub missing: Vec<String>,
}

impl Resolved {
    /// Can anybody use it?
    pub fn is_in_force(&self) -> bool {
        self.effects != 0 && !self.actors.is_empty()
    }
}

/// Stands for the rule in the kernel's events.
pub fn id_of(name: &str) -> u64 {
    let digest = sha256_hex(name.as_bytes());
    let id = u64::from_str_radix(digest.get(..16).unwrap_or_default(), 16).unwrap_or(1);
    // 0 is no rule, the largest is the self-test's.
    id.clamp(1, u64::MAX - 1)
}

/// Looks up everybody whom the rule names.
pub fn resolve(rule: &HostRule) -> Resolved {
    resolve_in(rule, Path::new(CGROUPS))
}

fn resolve_in(rule: &HostRule, cgroups: &Path) -> Resolved {
    let bits = rule.effects.iter().map(|effect| effect.bit());
    let effects = bits.fold(0, |mask, bit| mask | bit);
    if !rule.enabled || rule.mode == RuleMode::Shadow || effects == 0 {
        return Resolved::default();
    }
    let mut found = Resolved {
        effects,
        actors: rule.who.uids.iter().copied().map(Actor::Uid).collect(),
        missing: Vec::new(),
    };
    for exe in &rule.who.exes {
        match executable::trusted(Path::new(exe)) {
            Ok(actor) => {
                found.actors.insert(actor);
            }
            Err(error) => found.missing.push(format!("{exe}: {}", chain(&error))),
        }
    }
    for unit in &rule.who.units {
        let ids = cgroups_of(unit, cgroups);
        if ids.is_empty() {
            found.missing.push(format!("unit {unit} is not running"));
        }
        found.actors.extend(ids.into_iter().map(Actor::Cgroup));
    }
    found
}

/// The cgroups of a unit. Only systemd makes folders in a slice; below a
/// service or scope anybody to whom it was delegated may, so those are not
/// searched.
fn cgroups_of(unit: &str, root: &Path) -> Vec<u64> {
    if unit.contains('/') || unit.starts_with('.') {
        return Vec::new();
    }
    let folder_of = |slice: PathBuf| fs::symlink_metadata(slice.join(unit)).ok();
    slices(root)
        .into_iter()
        .filter_map(folder_of)
        .filter(fs::Metadata::is_dir)
        .map(|meta| meta.ino())
        .collect()
}

/// The root and every slice below it.
fn slices(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<(PathBuf, u32)> = vec![(root.to_owned(), 0)];
    while let Some((slice, depth)) = left.pop() {
        for entry in fs::read_dir(&slice).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_slice = path.extension().is_some_and(|kind| kind == "slice");
            if is_slice && depth < DEPTH_MAX && found.len() + left.len() < FOLDERS_MAX {
                left.push((path, depth + 1));
            }
        }
        found.push(slice);
    }
    found
}

/// Every rule of the policy that goes to the kernel, by name, and what is in the
/// way of the others.
pub fn resolve_all(policy: &Policy) -> BTreeMap<String, Resolved> {
    policy
        .host_rules
        .iter()
        .map(|(name, rule)| (name.clone(), resolve(rule)))
        .collect()
}

#[cfg(test)]
mod tests;
