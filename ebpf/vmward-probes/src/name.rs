//! Names of kernel objects, short enough to compare in four steps.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use vmward_abi::WORD_LEN;

/// A name, NUL padded; one that is longer is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Name([u64; WORD_LEN / 8]);

impl Name {
    /// No name.
    pub const EMPTY: Self = Self([0; WORD_LEN / 8]);

    /// What the kernel keeps at the address `at`; empty when it cannot be read.
    pub fn at(at: u64) -> Self {
        let mut name = Self::EMPTY;
        // SAFETY: the array is as long as is said; the helper checks the other
        // address and fails instead of faulting.
        unsafe {
            bpf_probe_read_kernel_str((&raw mut name.0).cast(), WORD_LEN as u32, at as *const _);
        }
        name
    }

    /// For [`crate::verdict::Attempt::word`], while this value lives.
    pub fn address(&self) -> u64 {
        &raw const self.0 as u64
    }

    /// Is it `text`? Shorter than [`WORD_LEN`].
    #[inline(always)]
    pub fn is(&self, text: &str) -> bool {
        self.0 == words(text)
    }

    /// Does it begin with `text`, of up to eight bytes?
    #[inline(always)]
    pub fn begins(&self, text: &str) -> bool {
        let mask = u64::MAX >> (64 - 8 * text.len());
        self.0[0] & mask == words(text)[0]
    }
}

/// Folded by the compiler: each name is four constants.
#[inline(always)]
const fn words(text: &str) -> [u64; WORD_LEN / 8] {
    let bytes = text.as_bytes();
    let mut words = [0; WORD_LEN / 8];
    let mut i = 0;
    while i < bytes.len() {
        words[i / 8] |= (bytes[i] as u64) << (8 * (i % 8));
        i += 1;
    }
    words
}
