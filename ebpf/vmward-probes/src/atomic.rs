//! Atomics on map values.
//!
//! `core`'s own atomic types offer no read-modify-write on this target, which
//! they take for one without compare-and-swap; BPF has both since 5.12.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd};

/// Adds and gives the value from before.
///
/// # Safety
/// `at` points to a live, aligned map value.
pub unsafe fn fetch_add_u64(at: *mut u64, n: u64) -> u64 {
    // SAFETY: as the caller vouches.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(at, n) }
}

/// Adds (wrapping) and gives the value from before.
///
/// # Safety
/// `at` points to a live, aligned map value.
pub unsafe fn fetch_add_u32(at: *mut u32, n: u32) -> u32 {
    // SAFETY: as the caller vouches.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::SeqCst }>(at, n) }
}

/// Sets bits and gives the value from before.
///
/// # Safety
/// `at` points to a live, aligned map value.
pub unsafe fn fetch_or_u32(at: *mut u32, bits: u32) -> u32 {
    // SAFETY: as the caller vouches.
    unsafe { atomic_or::<u32, u32, { AtomicOrdering::SeqCst }>(at, bits) }
}

/// Replaces `old` by `new`; true when it was `old`.
///
/// # Safety
/// `at` points to a live, aligned map value.
pub unsafe fn replace_u32(at: *mut u32, old: u32, new: u32) -> bool {
    // SAFETY: as the caller vouches.
    let (_, done) = unsafe {
        atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(at, old, new)
    };
    done
}
