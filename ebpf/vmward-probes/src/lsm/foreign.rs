//! Other BPF programs: those that could send a VM a signal, make its system
//! calls fail or write into its memory; that could answer in the place of a hook;
//! that could schedule its threads, or take its monitor's socket. Fail mode: closed.
//!
//! The hook is asked before a loaded program gets its descriptor: the verifier
//! is done, and what the program calls stands in its instructions, where nobody
//! can change it any more.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{effect, fact, object, vector};

use crate::lsm::own::try_bpf;
use crate::maps::{FACTS, offset};
use crate::objects::{fact, find, host_wall, is_own, own_wall};
use crate::task::{INIT, current_tgid, number, opaque, read};
use crate::verdict::Attempt;

/// Instructions are read in chunks of so many.
const CHUNK: usize = 8;
/// A lesson is no longer than this, in chunks.
const LESSON_CHUNKS: usize = 2;
/// See [`differ`].
static SHIFT: u32 = 63;
/// `BPF_JMP | BPF_CALL`, in the low byte of an instruction.
const CALL: u64 = 0x85;
/// TRACING, STRUCT_OPS, LSM.
const TRACING: u32 = 26;
const STRUCT_OPS: u32 = 27;
const LSM: u32 = 29;
/// `BPF_MODIFY_RETURN`: what such a program returns stands for what a function of
/// the kernel says, the security hooks among them.
const MODIFY_RETURN: u32 = 26;
/// `BPF_TRACE_ITER`: the one kind of program that may put sockets which it comes
/// across into a map. From there other programs speak in the place of their owners.
const ITERATOR: u32 = 28;
/// `ARRAY_OF_MAPS`, `HASH_OF_MAPS`, SOCKMAP, SOCKHASH: maps of sockets, and those that
/// may hold such maps.
const OF_SOCKETS: u32 = 1 << 12 | 1 << 13 | 1 << 15 | 1 << 18;
/// A program has no more maps.
const MAPS_MAX: usize = 64;
/// `BPF_TRACE_UPROBE_MULTI` (since 6.6), `BPF_TRACE_UPROBE_SESSION` (since 6.13): the
/// kernel writes a breakpoint wherever they say, into programs that run.
const UPROBES: [u32; 2] = [48, 57];

/// match-proto: security/security.c:int security_bpf_prog(struct bpf_prog *prog)
#[lsm(hook = "bpf_prog")]
pub fn bpf_prog(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    if earlier != 0 {
        return earlier;
    }
    try_prog(ctx.arg::<*const u8>(0) as u64)
}

fn try_prog(prog: u64) -> i32 {
    let aux: u64 = read(prog, offset!(bpf_prog_aux)).unwrap_or(0);
    let id: u32 = read(aux, offset!(bpf_prog_aux_id)).unwrap_or(0);
    if find(object::BPF_PROG, u64::from(id), 0).is_some() {
        return try_bpf(object::BPF_PROG, id);
    }
    let first = number(prog).wrapping_add(offset!(bpf_prog_insns) as u64);
    let length: u32 = read(prog, offset!(bpf_prog_len)).unwrap_or(u32::MAX);
    if is_own() {
        vmward_learn(first);
        return 0;
    }
    let kind: u32 = read(prog, offset!(bpf_prog_type)).unwrap_or(0);
    let place: u32 = read(prog, offset!(bpf_prog_attach_type)).unwrap_or(0);
    let attempt = Attempt {
        detail: id,
        ..Attempt::new(vector::BPF_PROGRAM, effect::FORCE_STOP)
    };
    if kind == TRACING && place == MODIFY_RETURN {
        return own_wall(&attempt);
    }
    let takes = kind == TRACING && place == ITERATOR && vmward_takes_sockets(aux) != 0;
    let dangerous = takes || decides(kind, place, aux);
    if !dangerous && vmward_is_dangerous(first, length) == 0 {
        return 0;
    }
    host_wall(&attempt)
}

/// Has it a map that sockets can be put into? Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_takes_sockets(aux: u64) -> i32 {
    opaque(takes_sockets(aux).into())
}

#[inline(always)]
fn takes_sockets(aux: u64) -> bool {
    let maps: u64 = read(aux, offset!(bpf_prog_aux_maps)).unwrap_or(0);
    let count: u32 = read(aux, offset!(bpf_prog_aux_map_count)).unwrap_or(u32::MAX);
    for number in 0..MAPS_MAX {
        if number >= count as usize {
            return false;
        }
        let map: u64 = read(maps, number * 8).unwrap_or(0);
        let kind: Option<u32> = read(map, offset!(bpf_map_type));
        if kind.is_none_or(|kind| kind < 32 && OF_SOCKETS & 1 << kind != 0) {
            return true;
        }
    }
    true
}

/// Does the kernel do what the program says, about anybody? The service manager's
/// own keep its services from file systems.
fn decides(kind: u32, place: u32, aux: u64) -> bool {
    match kind {
        LSM => current_tgid() != INIT,
        STRUCT_OPS => {
            let of: u32 = read(aux, offset!(bpf_prog_aux_attach)).unwrap_or(0);
            of as usize == offset!(sched_ext_ops)
        }
        _ => UPROBES.contains(&place),
    }
}

fn chunk(first: u64, number: usize) -> Option<[u64; CHUNK]> {
    read(first, number * CHUNK * 8)
}

/// One of the calls; where this kernel does not have it, no instruction at all.
fn call(number: u32) -> u64 {
    match fact(fact::CALLS + number) {
        0 => u64::MAX,
        call => call,
    }
}

/// 0 when two instructions are the same, else 1. Without a branch, so that the
/// verifier follows one path; `shift` is 63, which the compiler must not know,
/// or it makes a branch of it.
fn differ(one: u64, other: u64, shift: u32) -> u64 {
    let bits = one ^ other;
    (bits | bits.wrapping_neg()) >> shift
}

/// What is looked for in a program, and what was found so far.
#[repr(C)]
struct Search {
    first: u64,
    calls: [u64; 5],
    /// 0 once one of them was found.
    differs: u64,
    /// Not 0 once something could not be read.
    unread: u64,
}

/// Does it make one of the calls, however long it is? Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_is_dangerous(first: u64, length: u32) -> i32 {
    opaque(is_dangerous(first, length).into())
}

#[inline(always)]
fn is_dangerous(first: u64, length: u32) -> bool {
    let mut search = Search {
        first,
        calls: [call(0), call(1), call(2), call(3), call(4)],
        differs: 1,
        unread: 0,
    };
    // What follows a program in memory is no instruction of it; a chunk may begin
    // inside and end outside, and then a doubt refuses.
    let chunks = length.div_ceil(CHUNK as u32);
    let look: extern "C" fn(u32, *mut Search) -> u64 = look_at_chunk;
    // SAFETY: the callback takes what it is given, and that lives until it returns.
    let looked = unsafe { bpf_loop(chunks, look as *mut c_void, (&raw mut search).cast(), 0) };
    looked != i64::from(chunks) || search.unread != 0 || search.differs == 0
}

/// Called back by the kernel: 0 to go on, 1 to end.
#[inline(never)]
extern "C" fn look_at_chunk(number: u32, search: *mut Search) -> u64 {
    // SAFETY: the kernel hands over what `is_dangerous` has given it.
    let search = unsafe { &mut *search };
    let Some(words) = chunk(search.first, number as usize) else {
        search.unread = 1;
        return 1;
    };
    // SAFETY: a live static; volatile so that its value is not known.
    let shift = unsafe { core::ptr::read_volatile(&raw const SHIFT) };
    let mut differs = search.differs;
    for word in words {
        for call in search.calls {
            differs &= differ(word, call, shift);
        }
    }
    search.differs = differs;
    0
}

/// The daemon has loaded a program that makes one call, to see how this kernel
/// writes it. Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_learn(first: u64) -> i32 {
    learn(first);
    0
}

#[inline(always)]
fn learn(first: u64) {
    let lesson = fact(fact::LESSON);
    if lesson == 0 || lesson > u64::from(fact::CALLS_LEN) {
        return;
    }
    let mut found = 0;
    for number in 0..LESSON_CHUNKS {
        let Some(words) = chunk(first, number) else {
            return;
        };
        for word in words {
            if word & 0xff == CALL {
                found = word;
            }
        }
    }
    if let Some(slot) = FACTS.get_ptr_mut(fact::CALLS + lesson as u32 - 1) {
        // SAFETY: a live, aligned map value; the daemon teaches one at a time.
        unsafe { core::ptr::write_volatile(slot, found) };
    }
}
