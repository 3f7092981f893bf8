//! Memory that is not needed is not held.
//!
//! The allocator keeps what it once had: after a `status` with ten thousand
//! counters, or a policy that was read, that is more than the daemon's state.

/// Answers of more bytes than this are rare, and made of much more memory.
pub const LONG_ANSWER_BYTES: usize = 64 * 1024;

/// Pools that the allocator may keep. By default it has eight a core, and each
/// client's thread leaves some state of the engine in one of them, among pages
/// that then cannot be given back. Threads keep what they freed last for
/// themselves, so they seldom meet in a pool.
#[cfg(target_env = "gnu")]
const POOLS_MAX: libc::c_int = 2;
/// Pieces of more bytes than this are the system's again when they are freed. Left
/// to itself, the allocator keeps all up to the largest that ever was.
#[cfg(target_env = "gnu")]
const KEPT_BYTES_MAX: libc::c_int = 128 * 1024;

/// Makes the allocator frugal. Call before any thread is started.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator is the C library's")]
pub fn set_up() {
    let options = [
        (libc::M_ARENA_MAX, POOLS_MAX),
        (libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX),
    ];
    for (option, value) in options {
        // SAFETY: it takes two numbers, and no other thread allocates yet.
        let taken = unsafe { libc::mallopt(option, value) };
        debug_assert_eq!(taken, 1, "glibc knows option {option}");
    }
}

/// Only glibc has so many.
#[cfg(not(target_env = "gnu"))]
pub fn set_up() {}

/// Gives the system every page that the allocator holds and nobody uses. Takes
/// well under a millisecond.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator is the C library's")]
pub fn give_back() {
    // SAFETY: it takes no pointer, locks the allocator's own state, and touches
    // no memory that is in use.
    unsafe { libc::malloc_trim(0) };
}

/// Only glibc keeps so much.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
