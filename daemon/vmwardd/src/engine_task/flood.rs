//! What anybody can cause without end must not fill the disk. Where the same
//! process is refused again and again, or many processes are, the kernel's
//! events become records with a count: every event is in the log, and most of
//! them in one line with others.
//!
//! Records stay in the order of the kernel's numbers: what is held is written
//! before a later event, so that a crash leaves a gap that the next start sees.

use std::collections::BTreeMap;

use vmward_core::audit::{Actor, KernelRecord, KernelVerdict};
use vmward_core::clock::NS_PER_S;
use vmward_core::ids::Process;

/// Most records of one process about one VM within a second.
const OF_ONE_MAX: u32 = 10;
/// Records of any process that may come at once, and how many more a second.
const BURST: i64 = 200;
const PER_SECOND: i64 = 20;
/// Most processes that are told apart within a second.
const ACTORS_MAX: usize = 1024;
/// Most processes that get a counting record of their own.
const HELD_ACTORS_MAX: usize = 16;
/// The user in a record that stands for several.
const SEVERAL: u32 = u32::MAX;

/// Who tries what: one record stands for events that have this in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    /// The VM at which it is aimed.
    pub(super) vm: Process,
    /// The process that tries; none where a record stands for several.
    pub(super) actor: Option<Process>,
    /// The way, one of `vmward_abi::vector`.
    pub(super) vector: u32,
}

/// The attempts, and what came of them.
type Key = (Source, KernelVerdict);

/// The events of the running second.
#[derive(Debug)]
pub(super) struct Flood {
    since_ns: i64,
    tokens: i64,
    seen: BTreeMap<Key, u32>,
    held: BTreeMap<Key, KernelRecord>,
    held_since_ns: i64,
    first_held: Option<u64>,
}

impl Default for Flood {
    fn default() -> Flood {
        Flood {
            since_ns: i64::MIN,
            tokens: BURST,
            seen: BTreeMap::new(),
            held: BTreeMap::new(),
            held_since_ns: 0,
            first_held: None,
        }
    }
}

impl Flood {
    /// Is there room for one more record now? Where not, the event is held.
    /// Gives what has to be written now.
    pub(super) fn take(
        &mut self,
        source: Source,
        record: KernelRecord,
        now_ns: i64,
    ) -> Vec<KernelRecord> {
        self.roll(now_ns);
        let key = (source, record.verdict);
        if self.has_room(key) {
            let mut all = self.drain();
            all.push(record);
            return all;
        }
        if self.held.is_empty() {
            self.held_since_ns = now_ns;
        }
        let first = self.first_held.unwrap_or(record.kernel_seq);
        self.first_held = Some(first.min(record.kernel_seq));
        self.hold(key, record);
        Vec::new()
    }

    /// What has been held for a second.
    pub(super) fn due(&mut self, now_ns: i64) -> Vec<KernelRecord> {
        if now_ns.saturating_sub(self.held_since_ns) < NS_PER_S {
            return Vec::new();
        }
        self.drain()
    }

    /// Everything that is held, oldest first.
    pub(super) fn drain(&mut self) -> Vec<KernelRecord> {
        self.first_held = None;
        let mut all: Vec<KernelRecord> = std::mem::take(&mut self.held).into_values().collect();
        all.sort_by_key(|record| record.kernel_seq);
        all
    }

    /// The number of the first event that is in no record yet.
    pub(super) fn first_held(&self) -> Option<u64> {
        self.first_held
    }

    fn roll(&mut self, now_ns: i64) {
        let seconds = now_ns.saturating_sub(self.since_ns) / NS_PER_S;
        if seconds > 0 {
            self.since_ns = now_ns;
            self.seen.clear();
            let more = seconds.saturating_mul(PER_SECOND);
            self.tokens = self.tokens.saturating_add(more).min(BURST);
        }
    }

    fn has_room(&mut self, key: Key) -> bool {
        if self.tokens == 0 || self.seen.len() >= ACTORS_MAX {
            return false;
        }
        let seen = self.seen.entry(key).or_default();
        if *seen >= OF_ONE_MAX {
            return false;
        }
        *seen += 1;
        self.tokens -= 1;
        true
    }

    fn hold(&mut self, key: Key, mut record: KernelRecord) {
        let (source, verdict) = key;
        let known = self.held.contains_key(&key);
        let key = if known || self.held.len() < HELD_ACTORS_MAX {
            key
        } else {
            record.actor = several(record.actor.uid);
            let all = Source {
                actor: None,
                ..source
            };
            (all, verdict)
        };
        let Some(held) = self.held.get_mut(&key) else {
            record.count = Some(1);
            self.held.insert(key, record);
            return;
        };
        held.count = held.count.map(|count| count.saturating_add(1));
        if held.actor.uid != record.actor.uid {
            held.actor.uid = SEVERAL;
        }
        held.signal = record.signal;
        held.word = record.word;
        held.effect = record.effect;
        held.requester = record.requester;
        held.seen = record.seen;
        held.kernel_seq = held.kernel_seq.max(record.kernel_seq);
        held.vm_seq = held.vm_seq.max(record.vm_seq);
    }
}

fn several(uid: u32) -> Actor {
    Actor {
        uid,
        gid: SEVERAL,
        comm: "(several)".to_owned(),
        ..Actor::default()
    }
}

#[cfg(test)]
mod tests {
    use vmward_core::audit::VmRef;

    use super::*;

    const VM: Process = Process {
        pid: 7,
        start_ticks: 1,
    };

    fn process(pid: u32) -> Process {
        Process {
            pid,
            start_ticks: 1,
        }
    }

    fn source(pid: u32) -> Source {
        Source {
            vm: VM,
            actor: Some(process(pid)),
            vector: 1,
        }
    }

    fn record(pid: u32, seq: u64) -> KernelRecord {
        KernelRecord {
            verdict: KernelVerdict::Refused,
            vm: VmRef {
                uuid: None,
                name: "web-1".to_owned(),
            },
            pid: VM.pid,
            vector: "signal".to_owned(),
            word: None,
            effect: None,
            requester: None,
            signal: None,
            actor: Actor {
                tgid: pid,
                uid: 1000,
                ..Actor::default()
            },
            lease: None,
            rode: false,
            host_rule: None,
            count: None,
            seen: String::new(),
            kernel_seq: seq,
            vm_seq: seq,
        }
    }

    fn events(records: &[KernelRecord]) -> u64 {
        records.iter().map(|record| record.count.unwrap_or(1)).sum()
    }

    #[test]
    fn one_process_gets_ten_records_a_second_and_then_a_count() {
        let mut flood = Flood::default();
        let mut written = Vec::new();
        for seq in 1..=5000 {
            written.extend(flood.take(source(1), record(1, seq), 0));
        }
        assert_eq!(written.len(), 10);
        assert_eq!(flood.first_held(), Some(11));
        assert_eq!(flood.due(NS_PER_S - 1), []);
        written.extend(flood.due(NS_PER_S));
        assert_eq!((written.len(), events(&written)), (11, 5000));
        let last = written.last().unwrap();
        assert_eq!((last.kernel_seq, last.actor.tgid), (5000, 1));
        assert_eq!(flood.first_held(), None);
    }

    #[test]
    fn many_processes_share_a_bound_and_every_event_is_counted() {
        let mut flood = Flood::default();
        let mut written = Vec::new();
        for seq in 1..=3000u32 {
            let seq_u64 = u64::from(seq);
            written.extend(flood.take(source(seq), record(seq, seq_u64), 0));
        }
        written.extend(flood.due(NS_PER_S));
        assert_eq!(events(&written), 3000);
        assert_eq!(written.len(), 217, "200, 16 by process, and the rest");
        let rest = written.iter().find(|record| record.actor.tgid == 0);
        assert_eq!(rest.unwrap().actor.uid, 1000);
    }

    #[test]
    fn records_stay_in_the_order_of_their_numbers() {
        let mut flood = Flood::default();
        let mut written = Vec::new();
        for seq in 1..=20 {
            written.extend(flood.take(source(1), record(1, seq), 0));
        }
        written.extend(flood.take(source(2), record(2, 21), 0));
        let order: Vec<u64> = written.iter().map(|record| record.kernel_seq).collect();
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(events(&written), 21);
    }

    #[test]
    fn two_ways_of_one_process_never_share_a_record() {
        let mut flood = Flood::default();
        let mut written = Vec::new();
        for seq in 1..=100 {
            let mut record = record(1, seq);
            let mut source = source(1);
            if seq % 2 == 0 {
                record.vector = "ptrace".to_owned();
                source.vector = 4;
            }
            written.extend(flood.take(source, record, 0));
        }
        written.extend(flood.due(NS_PER_S));
        for vector in ["signal", "ptrace"] {
            let mut of = written.clone();
            of.retain(|record| record.vector == vector);
            assert_eq!(events(&of), 50, "{vector}");
        }
    }

    #[test]
    fn quiet_attempts_are_never_held() {
        let mut flood = Flood::default();
        for second in 0..100 {
            let now = second * NS_PER_S;
            let seq = u64::try_from(second).unwrap() + 1;
            assert_eq!(flood.take(source(1), record(1, seq), now).len(), 1);
        }
    }
}
