//! The host rules in the kernel: which rule names whom, which is about which
//! VM, and how often each was used.

use std::collections::BTreeMap;
use std::hash::Hash;

use aya::maps::{Array, HashMap, MapData};
use aya::{Ebpf, Pod};
use vmward_abi::{HOST_RULES_MAX, HostActorKey, HostRuleRow, effect, host_actor, host_rule_flag};

use super::maps::{BPF_ANY, absent_is_fine, absent_is_none, failed, take};
use super::{CANARY_UUID, KernelError};

/// The last number is the self-test's own.
pub(super) const SELF_TEST_RULE: u32 = HOST_RULES_MAX - 1;

const SELF_TEST_MASK: u64 = 1 << SELF_TEST_RULE;

/// Who is meant, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A real user id.
    Uid(u32),
    /// An executable, by inode.
    Exe {
        /// The device of its file system, as the kernel numbers it.
        dev: u32,
        /// Its inode.
        inode: u64,
    },
    /// A cgroup v2 with those below it.
    Cgroup(u64),
}

/// A host rule as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// Stands for the rule in events.
    pub id: u64,
    /// Bits of `vmward_abi::effect`.
    pub effects: u32,
    /// It can be used until [`HostRuleState::uses`] has reached this; `None` for
    /// a rule without limits.
    pub ceiling: Option<u64>,
    /// Up to which use the daemon has taken them down.
    pub charged: u64,
}

/// A host rule and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRuleState {
    /// As the daemon wrote it.
    pub rule: HostRule,
    /// Uses of this number since the programs were first attached, by this rule
    /// or by others that had the number before it.
    pub uses: u64,
}

/// The maps.
pub struct HostMaps {
    actors: HashMap<MapData, HostActorKey, u64>,
    picks: HashMap<MapData, [u8; 16], u64>,
    rules: Array<MapData, HostRuleRow>,
    uses: Array<MapData, u64>,
}

impl HostMaps {
    /// How many rules there can be; they are numbered from 0.
    pub const RULES_MAX: u32 = SELF_TEST_RULE;

    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            actors: take(ebpf, "HOST_ACTORS")?
                .try_into()
                .map_err(failed("open", "HOST_ACTORS"))?,
            picks: take(ebpf, "HOST_PICKS")?
                .try_into()
                .map_err(failed("open", "HOST_PICKS"))?,
            rules: take(ebpf, "HOST_RULES")?
                .try_into()
                .map_err(failed("open", "HOST_RULES"))?,
            uses: take(ebpf, "HOST_USES")?
                .try_into()
                .map_err(failed("open", "HOST_USES"))?,
        })
    }

    /// How often the rules of this number were used.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn uses(&self, number: u32) -> Result<u64, KernelError> {
        self.uses
            .get(&number, 0)
            .map_err(failed("look up a host rule", "HOST_USES"))
    }

    /// The rule of this number, where one is in force.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn rule(&self, number: u32) -> Result<Option<HostRuleState>, KernelError> {
        let row = self.row(number)?;
        if row.effects == 0 {
            return Ok(None);
        }
        let limited = row.flags & host_rule_flag::LIMITED != 0;
        Ok(Some(HostRuleState {
            rule: HostRule {
                id: row.id,
                effects: row.effects,
                ceiling: limited.then_some(row.ceiling),
                charged: row.charged,
            },
            uses: self.uses(number)?,
        }))
    }

    /// Puts a rule into force, or takes the one of this number out. A rule that
    /// becomes another is out of force in between, so that nothing can use a
    /// mixture of both.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn set_rule(&mut self, number: u32, rule: Option<HostRule>) -> Result<(), KernelError> {
        let before = self.row(number)?;
        let row = HostRuleRow {
            id: rule.map_or(0, |rule| rule.id),
            ceiling: rule.and_then(|rule| rule.ceiling).unwrap_or(0),
            charged: rule.map_or(0, |rule| rule.charged),
            effects: rule.map_or(0, |rule| rule.effects),
            flags: rule.map_or(0, |rule| match rule.ceiling {
                Some(_) => host_rule_flag::LIMITED,
                None => 0,
            }),
        };
        if row == before {
            return Ok(());
        }
        let same = (row.id, row.effects, row.flags) == (before.id, before.effects, before.flags);
        if !same {
            if before.effects != 0 {
                let out = HostRuleRow {
                    effects: 0,
                    ..before
                };
                self.put(number, out)?;
            }
            self.put(number, HostRuleRow { effects: 0, ..row })?;
        }
        if same || row.effects != 0 {
            self.put(number, row)?;
        }
        Ok(())
    }

    /// Names exactly these actors, each with the mask of the rules that name it.
    ///
    /// # Errors
    /// When the map refuses: it is full, or not ours to write.
    pub fn set_actors(&mut self, wanted: &BTreeMap<Actor, u64>) -> Result<(), KernelError> {
        let wanted = wanted.iter().map(|(actor, rules)| (key(*actor), *rules));
        replace(&mut self.actors, wanted.collect(), "HOST_ACTORS")
    }

    /// Picks exactly these VMs, each with the mask of the rules that are about
    /// it.
    ///
    /// # Errors
    /// When the map refuses: it is full, or not ours to write.
    pub fn set_picks(&mut self, wanted: BTreeMap<[u8; 16], u64>) -> Result<(), KernelError> {
        replace(&mut self.picks, wanted, "HOST_PICKS")
    }

    /// The self-test's rule: names one actor, is about the canary alone, and
    /// lets it pause it `uses` times. What a former daemon put stays as it is.
    pub(super) fn begin_self_test(&mut self, actor: Actor, uses: u64) -> Result<(), KernelError> {
        let rule = HostRule {
            id: u64::MAX,
            effects: effect::PAUSE,
            ceiling: Some(self.uses(SELF_TEST_RULE)?.saturating_add(uses)),
            charged: 0,
        };
        self.set_rule(SELF_TEST_RULE, Some(rule))?;
        self.picks
            .insert(CANARY_UUID, SELF_TEST_MASK, BPF_ANY)
            .map_err(failed("put a host rule", "HOST_PICKS"))?;
        let others = self.named(actor)?;
        self.actors
            .insert(key(actor), others | SELF_TEST_MASK, BPF_ANY)
            .map_err(failed("put a host rule", "HOST_ACTORS"))
    }

    /// Takes out what [`HostMaps::begin_self_test`] put.
    pub(super) fn end_self_test(&mut self, actor: Actor) -> Result<(), KernelError> {
        self.set_rule(SELF_TEST_RULE, None)?;
        absent_is_fine(self.picks.remove(&CANARY_UUID))
            .map_err(failed("remove a host rule", "HOST_PICKS"))?;
        match self.named(actor)? & !SELF_TEST_MASK {
            0 => absent_is_fine(self.actors.remove(&key(actor))),
            others => self.actors.insert(key(actor), others, BPF_ANY),
        }
        .map_err(failed("remove a host rule", "HOST_ACTORS"))
    }

    fn named(&self, actor: Actor) -> Result<u64, KernelError> {
        let rules = absent_is_none(self.actors.get(&key(actor), 0));
        let rules = rules.map_err(failed("look up a host rule", "HOST_ACTORS"))?;
        Ok(rules.unwrap_or(0))
    }

    fn row(&self, number: u32) -> Result<HostRuleRow, KernelError> {
        self.rules
            .get(&number, 0)
            .map_err(failed("look up a host rule", "HOST_RULES"))
    }

    fn put(&mut self, number: u32, row: HostRuleRow) -> Result<(), KernelError> {
        self.rules
            .set(number, row, 0)
            .map_err(failed("put a host rule", "HOST_RULES"))
    }
}

fn key(actor: Actor) -> HostActorKey {
    let (kind, id, dev) = match actor {
        Actor::Uid(uid) => (host_actor::UID, u64::from(uid), 0),
        Actor::Exe { dev, inode } => (host_actor::EXE, inode, dev),
        Actor::Cgroup(id) => (host_actor::CGROUP, id, 0),
    };
    HostActorKey { id, kind, dev }
}

/// Makes a map hold exactly `wanted`. What goes, goes first.
fn replace<K: Pod + Ord + Hash>(
    map: &mut HashMap<MapData, K, u64>,
    wanted: BTreeMap<K, u64>,
    name: &'static str,
) -> Result<(), KernelError> {
    let before: Result<BTreeMap<K, u64>, _> = map.iter().collect();
    let before = before.map_err(failed("list the host rules", name))?;
    for key in before.keys().filter(|key| !wanted.contains_key(key)) {
        absent_is_fine(map.remove(key)).map_err(failed("remove a host rule", name))?;
    }
    for (key, rules) in wanted {
        if before.get(&key) != Some(&rules) {
            map.insert(key, rules, BPF_ANY)
                .map_err(failed("put a host rule", name))?;
        }
    }
    Ok(())
}
