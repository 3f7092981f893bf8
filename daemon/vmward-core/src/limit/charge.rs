//! Who is charged how much, as the journal has it.

use serde::{Deserialize, Serialize};

use super::Want;
use crate::clock::NS_PER_S;

/// A counter of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CounterKey {
    /// The counter's name in the policy.
    pub counter: String,
    /// Whose counter, such as `grant:uid:0`.
    pub key: String,
}

/// What one call costs on one counter, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The counter.
    #[serde(flatten)]
    pub key: CounterKey,
    /// How much, at least 1. Journals before limits had costs do not say it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub cost: u32,
    /// The account that made the key up, where the key does not begin with it.
    /// Journals before accounts had shares do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
    /// For how many seconds it matters: the window that held. Journals before
    /// windows were told do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<u32>,
}

impl From<&Want> for Charge {
    fn from(want: &Want) -> Self {
        Self {
            key: key_of(want),
            cost: want.cost,
            maker: maker_beside(&want.key, want.maker.as_deref()),
            window_s: window_s(want.window_ns),
        }
    }
}

/// A window in whole seconds, as policies have them.
pub fn window_s(window_ns: i64) -> Option<u32> {
    u32::try_from(window_ns / NS_PER_S).ok()
}

/// The account in a key that begins with one, such as `agent:uid:0/name`: its
/// rest is the caller's own word.
pub(super) fn maker_in(key: &str) -> Option<&str> {
    let (scope, rest) = key.split_once(':')?;
    let (maker, _) = rest.split_once('/')?;
    matches!(scope, "agent" | "session").then_some(maker)
}

/// The maker, where the key does not say it.
pub fn maker_beside(key: &str, maker: Option<&str>) -> Option<String> {
    maker
        .filter(|maker| maker_in(key) != Some(maker))
        .map(str::to_owned)
}

fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to skip_serializing_if"
)]
fn is_one(cost: &u32) -> bool {
    *cost == 1
}

pub(super) fn key_of(want: &Want) -> CounterKey {
    CounterKey {
        counter: want.counter.clone(),
        key: want.key.clone(),
    }
}
