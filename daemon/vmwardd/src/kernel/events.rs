//! The ring buffer as typed events.

use std::collections::VecDeque;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use vmward_abi::{
    ANCESTORS_MAX, Ancestor, COMM_LEN, EVENT_RING_BYTES, Event, WORD_LEN, actor_flag, event_kind,
};
use vmward_core::ids::Process;

use super::{KernelError, maps};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A signal without lease was refused.
    Refused,
    /// The same, let through because the VM is only observed.
    WouldRefuse,
    /// A lease was used for the first time.
    LeaseClaimed,
    /// A further signal under a claimed lease.
    LeaseUsed,
    /// libvirt's finishing kill after QEMU said that the guest is over.
    FinishingKill,
    /// A signal of kernel origin, which no hook can refuse.
    KernelSignal,
    /// QEMU said that the guest is over; `signal` holds the cause, a bit of
    /// `vmward_abi::finishing_cause`.
    Finishing,
    /// QEMU said that the guest runs again.
    Resumed,
    /// The process is gone.
    Exited,
    /// A signal without lease was let through by a host rule.
    HostRule,
    /// A host rule that names the sender is used up: refused.
    HostRuleUsedUp,
    /// Something that no hook can refuse, or that is only watched.
    Witnessed,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelActor {
    /// Thread.
    pub pid: u32,
    /// Process.
    pub tgid: u32,
    /// Start time of the process, in ticks since boot.
    pub start_ticks: u64,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Login uid; `u32::MAX` when unset.
    pub loginuid: u32,
    /// Audit session; `u32::MAX` when unset.
    pub session: u32,
    /// cgroup v2 id.
    pub cgroup_id: u64,
    /// Command name of the thread.
    pub comm: String,
    /// Process id and command name of each ancestor, nearest first.
    pub ancestors: Vec<(u32, String)>,
    /// The actor is the VM's libvirtd, acting for somebody.
    pub deputy: bool,
}

/// Who asked libvirt's daemon to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelRequester {
    /// The process.
    pub process: Process,
    /// Its real user id.
    pub uid: u32,
    /// Nobody else had asked.
    pub sure: bool,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelEvent {
    /// Number on this host, from 1, without gaps.
    pub seq: u64,
    /// Number for this VM, from 1, without gaps.
    pub vm_seq: u64,
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub boot_ns: u64,
    /// What happened.
    pub kind: EventKind,
    /// libvirt's UUID; all zero for the canary.
    pub vm_uuid: [u8; 16],
    /// The QEMU process.
    pub vm: Process,
    /// Who.
    pub actor: KernelActor,
    /// On whose behalf, where the actor is libvirt's daemon.
    pub requester: Option<KernelRequester>,
    /// One of `vmward_abi::vector`.
    pub vector: u32,
    /// A bit of `vmward_abi::effect`, or 0.
    pub effect: u32,
    /// What the vector says.
    pub detail: u32,
    /// What it was, in a word; may be empty.
    pub word: String,
    /// Signal number, or the cause of a `Finishing`; 0 for neither.
    pub signal: u32,
    /// The lease that covered it; 0 for none.
    pub lease: u64,
    /// The lease is not known to be the requester's.
    pub rode: bool,
    /// [`super::HostRule::id`] of the host rule that decided; 0 for none.
    pub host_rule: u64,
    /// Wait status of an `Exited`.
    pub exit_code: u32,
}

/// Bytes that are no event of this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEvent {
    /// How long they are.
    pub len: usize,
    /// The kind that they claim, where they are long enough.
    pub kind: Option<u32>,
}

/// The ring holds no more events than this at a time.
pub(super) const EVENTS_MAX: usize = EVENT_RING_BYTES as usize / size_of::<Event>();

/// The one consumer of the ring. The ring is pinned, so that what happened
/// while no daemon ran is read by the next.
pub struct EventReader {
    ring: RingBuf<MapData>,
    kept: VecDeque<Result<KernelEvent, UnknownEvent>>,
}

impl EventReader {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let ring = maps::take(ebpf, "EVENTS")?
            .try_into()
            .map_err(|source| KernelError::Map {
                what: "open",
                map: "EVENTS",
                source: Box::new(source),
            })?;
        Ok(Self {
            ring,
            kept: VecDeque::new(),
        })
    }

    /// Hands over the oldest events, at most `max` of them; what the self-test
    /// met of others' events comes first. True when more may wait: whoever makes
    /// events faster than they are read must not keep the reader here for ever.
    pub fn drain(
        &mut self,
        max: usize,
        mut take: impl FnMut(Result<KernelEvent, UnknownEvent>),
    ) -> bool {
        for _ in 0..max {
            if let Some(event) = self.kept.pop_front() {
                take(event);
            } else if let Some(item) = self.ring.next() {
                take(decode(&item));
            } else {
                return false;
            }
        }
        true
    }

    /// Empties the ring and keeps what was in it for the next
    /// [`EventReader::drain`]. At most [`EVENTS_MAX`]: the ring fills again while
    /// it is read.
    pub(super) fn keep_all(&mut self) {
        while self.kept.len() < EVENTS_MAX
            && let Some(item) = self.ring.next()
        {
            self.kept.push_back(decode(&item));
        }
    }

    /// How many events are kept.
    pub(super) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    /// Keeps an event for the next [`EventReader::drain`].
    pub(super) fn keep(&mut self, event: Result<KernelEvent, UnknownEvent>) {
        self.kept.push_back(event);
    }
}

impl AsFd for EventReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for EventReader {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

fn bytes<const N: usize>(raw: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(from) = raw.get(at..at + N) {
        out.copy_from_slice(from);
    }
    out
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes(raw, at))
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes(raw, at))
}

/// Text of at most `N` bytes, NUL padded.
fn text_at<const N: usize>(raw: &[u8], at: usize) -> String {
    let text: [u8; N] = bytes(raw, at);
    let len = text.iter().position(|b| *b == 0).unwrap_or(N);
    String::from_utf8_lossy(&text[..len]).into_owned()
}

fn requester(raw: &[u8]) -> Option<KernelRequester> {
    let pid = u32_at(raw, offset_of!(Event, requester_tgid));
    let flags = u32_at(raw, offset_of!(Event, actor_flags));
    (pid != 0).then(|| KernelRequester {
        process: Process {
            pid,
            start_ticks: u64_at(raw, offset_of!(Event, requester_start_ticks)),
        },
        uid: u32_at(raw, offset_of!(Event, requester_uid)),
        sure: flags & actor_flag::REQUESTER_SURE != 0,
    })
}

fn kind_of(raw: u32) -> Option<EventKind> {
    Some(match raw {
        event_kind::REFUSED => EventKind::Refused,
        event_kind::WOULD_REFUSE => EventKind::WouldRefuse,
        event_kind::LEASE_CLAIMED => EventKind::LeaseClaimed,
        event_kind::LEASE_USED => EventKind::LeaseUsed,
        event_kind::FINISHING_KILL => EventKind::FinishingKill,
        event_kind::KERNEL_SIGNAL => EventKind::KernelSignal,
        event_kind::FINISHING => EventKind::Finishing,
        event_kind::RESUMED => EventKind::Resumed,
        event_kind::EXITED => EventKind::Exited,
        event_kind::HOST_RULE => EventKind::HostRule,
        event_kind::HOST_RULE_USED_UP => EventKind::HostRuleUsedUp,
        event_kind::WITNESSED => EventKind::Witnessed,
        _ => return None,
    })
}

fn decode(raw: &[u8]) -> Result<KernelEvent, UnknownEvent> {
    if raw.len() < size_of::<Event>() {
        return Err(UnknownEvent {
            len: raw.len(),
            kind: None,
        });
    }
    let number = u32_at(raw, offset_of!(Event, kind));
    let Some(kind) = kind_of(number) else {
        return Err(UnknownEvent {
            len: raw.len(),
            kind: Some(number),
        });
    };
    let ancestors = (0..ANCESTORS_MAX)
        .map(|i| offset_of!(Event, ancestors) + i * size_of::<Ancestor>())
        .map(|at| {
            (
                u32_at(raw, at),
                text_at::<COMM_LEN>(raw, at + offset_of!(Ancestor, comm)),
            )
        })
        .take_while(|(tgid, _)| *tgid != 0)
        .collect();
    Ok(KernelEvent {
        seq: u64_at(raw, offset_of!(Event, seq)),
        vm_seq: u64_at(raw, offset_of!(Event, vm_seq)),
        boot_ns: u64_at(raw, offset_of!(Event, boot_ns)),
        kind,
        vm_uuid: bytes(raw, offset_of!(Event, vm_uuid)),
        vm: Process {
            pid: u32_at(raw, offset_of!(Event, vm_tgid)),
            start_ticks: u64_at(raw, offset_of!(Event, vm_start_ticks)),
        },
        actor: KernelActor {
            pid: u32_at(raw, offset_of!(Event, actor_pid)),
            tgid: u32_at(raw, offset_of!(Event, actor_tgid)),
            start_ticks: u64_at(raw, offset_of!(Event, actor_start_ticks)),
            uid: u32_at(raw, offset_of!(Event, uid)),
            gid: u32_at(raw, offset_of!(Event, gid)),
            loginuid: u32_at(raw, offset_of!(Event, loginuid)),
            session: u32_at(raw, offset_of!(Event, session)),
            cgroup_id: u64_at(raw, offset_of!(Event, cgroup_id)),
            comm: text_at::<COMM_LEN>(raw, offset_of!(Event, comm)),
            ancestors,
            deputy: u32_at(raw, offset_of!(Event, actor_flags)) & actor_flag::DEPUTY != 0,
        },
        requester: requester(raw),
        vector: u32_at(raw, offset_of!(Event, vector)),
        effect: u32_at(raw, offset_of!(Event, effect)),
        detail: u32_at(raw, offset_of!(Event, detail)),
        word: text_at::<WORD_LEN>(raw, offset_of!(Event, word)),
        signal: u32_at(raw, offset_of!(Event, signal)),
        lease: u64_at(raw, offset_of!(Event, lease)),
        rode: u32_at(raw, offset_of!(Event, actor_flags)) & actor_flag::RODE != 0,
        host_rule: u64_at(raw, offset_of!(Event, host_rule)),
        exit_code: u32_at(raw, offset_of!(Event, exit_code)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_event_are_counted_and_not_guessed() {
        assert_eq!(decode(&[0; 8]), Err(UnknownEvent { len: 8, kind: None }));
        let mut raw = vec![0; size_of::<Event>()];
        raw[offset_of!(Event, kind)] = 99;
        assert_eq!(
            decode(&raw),
            Err(UnknownEvent {
                len: raw.len(),
                kind: Some(99)
            })
        );
    }

    #[test]
    fn an_event_names_its_vm_and_its_actor() {
        let mut raw = vec![0; size_of::<Event>()];
        raw[offset_of!(Event, kind)] = 1;
        raw[offset_of!(Event, signal)] = 9;
        raw[offset_of!(Event, comm)..][..4].copy_from_slice(b"kill");
        raw[offset_of!(Event, ancestors)] = 7;
        raw[offset_of!(Event, ancestors) + 4..][..4].copy_from_slice(b"bash");
        let event = decode(&raw).expect("a whole event");
        assert_eq!((event.kind, event.signal), (EventKind::Refused, 9));
        assert_eq!(event.actor.comm, "kill");
        assert_eq!(event.actor.ancestors, [(7, "bash".to_owned())]);
    }
}
