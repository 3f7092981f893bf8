//! Memory that is not needed any more goes back to the system.
//!
//! The allocator keeps what it once had: after a `status` with ten thousand
//! counters, or a policy that was read, that is more than the daemon's state.

/// Answers of more bytes than this are rare, and made of much more memory.
pub const LONG_ANSWER_BYTES: usize = 64 * 1024;

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
