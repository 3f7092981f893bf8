//! What the attack suite found, as committed data and as a table for people.
//!
//! The suite writes a line a row and phase; [`Coverage::add`] keeps the newest
//! of each. Kernels and libvirt are known by their first two numbers.

mod render;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::attacks::Attack;

/// What the suite says of one row in one phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The row.
    pub id: String,
    /// The kernel's release.
    pub kernel: String,
    /// libvirt's version.
    pub libvirt: String,
    /// `control`, `enforce`, `observe`, `lease` or `down`.
    pub phase: String,
    /// One of [`word`].
    pub outcome: String,
    /// What was wrong, or why it was not played.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The words for an outcome.
pub mod word {
    /// As the row says.
    pub const OK: &str = "ok";
    /// Not as the row says.
    pub const FAILED: &str = "failed";
    /// The attack worked where it must be refused, and is on record.
    pub const STOPPED: &str = "stopped";
    /// The attack worked, and no record tells of it.
    pub const UNRECORDED: &str = "stopped-and-unrecorded";
    /// The row has no such phase.
    pub const NOT_PLAYED: &str = "not-played";
}

/// Where a row was played.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    kernel: String,
    libvirt: String,
}

type Key = (String, Place, String);

/// All outcomes.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    outcomes: BTreeMap<Key, Outcome>,
}

/// `6.12` of `6.12.95+deb12-amd64`.
fn two_numbers(version: &str) -> String {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().unwrap_or_default();
    format!("{}.{}", next(), next())
}

impl Coverage {
    /// Adds lines; later ones replace earlier ones of the same row, place and
    /// phase.
    ///
    /// # Errors
    /// When a line is not one of the suite's.
    pub fn add(&mut self, lines: &str) -> Result<()> {
        for (number, line) in lines.lines().enumerate() {
            let mut outcome: Outcome = serde_json::from_str(line)
                .with_context(|| format!("line {} is no outcome", number + 1))?;
            outcome.kernel = two_numbers(&outcome.kernel);
            outcome.libvirt = two_numbers(&outcome.libvirt);
            let place = Place {
                kernel: outcome.kernel.clone(),
                libvirt: outcome.libvirt.clone(),
            };
            let key = (outcome.id.clone(), place, outcome.phase.clone());
            self.outcomes.insert(key, outcome);
        }
        Ok(())
    }

    /// Forgets rows that the table does not have any more.
    pub fn keep(&mut self, rows: &[&Attack]) {
        let ids: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
        self.outcomes
            .retain(|(id, _, _), _| ids.contains(id.as_str()));
    }

    /// The committed form: a line an outcome, in a fixed order.
    ///
    /// # Errors
    /// Never in practice: an outcome is always JSON.
    pub fn lines(&self) -> Result<String> {
        let mut text = String::new();
        for outcome in self.outcomes.values() {
            text.push_str(&serde_json::to_string(outcome)?);
            text.push('\n');
        }
        Ok(text)
    }

    /// What keeps these results from proving the table: rows that were not
    /// played, and outcomes that are not as the row says.
    pub fn gaps(&self, rows: &[&Attack]) -> Vec<String> {
        let mut gaps: Vec<_> = self
            .outcomes
            .values()
            .filter(|outcome| ![word::OK, word::NOT_PLAYED].contains(&outcome.outcome.as_str()))
            .map(|outcome| {
                let why = outcome.why.as_deref().unwrap_or("?");
                let (id, phase, word) = (&outcome.id, &outcome.phase, &outcome.outcome);
                let (kernel, libvirt) = (&outcome.kernel, &outcome.libvirt);
                format!("{id} {phase} on {kernel} with libvirt {libvirt}: {word}: {why}")
            })
            .collect();
        let known: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
        for row in rows {
            if self.enforced(row.id).next().is_none() {
                gaps.push(format!("{}: no results of it are committed", row.id));
            }
        }
        let gone = self.outcomes.keys().map(|(id, _, _)| id.as_str());
        let gone: BTreeSet<_> = gone.filter(|id| !known.contains(id)).collect();
        gaps.extend(
            gone.iter()
                .map(|id| format!("{id}: no such attack is in the table")),
        );
        gaps
    }

    fn enforced<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Outcome> {
        self.outcomes
            .values()
            .filter(move |outcome| outcome.id == id && outcome.phase == "enforce")
    }

    fn places(&self) -> BTreeSet<Place> {
        let keys = self.outcomes.keys();
        keys.map(|(_, place, _)| place.clone()).collect()
    }

    fn at(&self, id: &str, place: &Place, phase: &str) -> Option<&Outcome> {
        let key = (id.to_owned(), place.clone(), phase.to_owned());
        self.outcomes.get(&key)
    }
}
