//! Unix sockets, and what is sent on them.

use aya_ebpf::helpers::{bpf_probe_read_user_buf, generated};
use vmward_abi::{FileKey, monitor_kind, role};

use crate::maps::{MONITORS, VMS, offset};
use crate::objects::{identify, inode_of};
use crate::scope::Vm;
use crate::task::read;

/// How much of a message is looked at: enough for the name of an event, for the
/// head of a status answer, for the name of a command, and for the whole of
/// libvirt's order to add a socket. A power of two.
pub const HEAD_LEN: usize = 512;

const AF_UNIX: u16 = 1;
/// `struct sockaddr_un` before its path.
const SUN_PATH: usize = 2;
const SUN_LEN_MAX: u32 = 110;

/// Address of the `struct sock` behind a `struct socket`, where it is a Unix
/// one.
pub fn sock_of(socket: u64) -> Option<u64> {
    let sk: u64 = read(socket, offset!(socket_sk))?;
    (read::<u16>(sk, offset!(sock_family))? == AF_UNIX).then_some(sk)
}

/// Address of the `struct sock` at the other end; 0 where there is none.
pub fn peer(sk: u64) -> u64 {
    read(sk, offset!(unix_peer)).unwrap_or(0)
}

/// The VM that listens, or listened, on this socket for orders, and what kind
/// of orders. The accepted end of a connection keeps the listener's file.
pub fn listening_vm(sk: u64) -> Option<(Vm, u32)> {
    let dentry: u64 = read(sk, offset!(unix_path) + offset!(path_dentry))?;
    // SAFETY: a plain copy of a live map value.
    let monitor = *unsafe { MONITORS.get(file_key(dentry)?) }?;
    // SAFETY: as above.
    let row = *unsafe { VMS.get(monitor.vm_tgid) }?;
    let tgid = monitor.vm_tgid;
    (row.role == role::VM && row.start_ticks == monitor.vm_start_ticks)
        .then_some((Vm { tgid, row }, monitor.kind))
}

/// The inode of the file that a socket is bound to; 0 where there is none.
pub fn bound_to(sk: u64) -> u64 {
    inode_of(read(sk, offset!(unix_path) + offset!(path_dentry)).unwrap_or(0))
}

/// Is the file at this inode the socket on which the VM takes libvirt's orders?
pub fn is_monitor(vm: &Vm, inode: u64) -> bool {
    let Some((inode, dev)) = identify(inode) else {
        return false;
    };
    let key = FileKey { inode, dev, pad: 0 };
    // SAFETY: a live map value, only read.
    unsafe { MONITORS.get(key) }.is_some_and(|found| {
        found.kind == monitor_kind::QMP
            && found.vm_tgid == vm.tgid
            && found.vm_start_ticks == vm.row.start_ticks
    })
}

/// What [`listener`] gives where nobody listens.
pub const NOBODY: u32 = u32::MAX;

/// As [`listening_vm`], with a stack frame of its own: the VM goes to `vm`, and the
/// kind of orders comes back.
#[inline(never)]
pub fn listener(sk: u64, vm: &mut Vm) -> u32 {
    match listening_vm(sk) {
        Some((found, kind)) => {
            *vm = found;
            kind
        }
        None => NOBODY,
    }
}

/// The last `N` bytes of the path that a socket is bound to, without a final NUL;
/// none where it has no such path. Given by whoever bound it.
#[inline(always)]
pub fn path_tail<const N: usize>(sk: u64) -> Option<[u8; N]> {
    let address: u64 = read(sk, offset!(unix_addr))?;
    let len: u32 = read(address, offset!(unix_address_len))?;
    // The length counts the family and, for a bound path, the final NUL.
    if len > SUN_LEN_MAX || (len as usize) < SUN_PATH + N + 1 {
        return None;
    }
    let end = offset!(unix_address_name) + len as usize;
    let last: u8 = read(address, end - 1)?;
    let nul = if last == 0 { 1 } else { 0 };
    read(address, end - nul - N)
}

/// The file of a `struct dentry`.
pub fn file_key(dentry: u64) -> Option<FileKey> {
    let (inode, dev) = identify(read(dentry, offset!(dentry_inode))?)?;
    Some(FileKey { inode, dev, pad: 0 })
}

/// What is being sent.
#[derive(Clone, Copy)]
pub struct Message {
    /// Address of the `struct msghdr`.
    pub header: u64,
    /// In bytes.
    pub size: u32,
}

impl Message {
    /// Is all of it in the place that [`Self::copy_head`] gives?
    #[inline(always)]
    pub fn is_in_one_part(self) -> bool {
        let iter = self.header.wrapping_add(offset!(msghdr_iter) as u64);
        let kind: Option<u8> = read(iter, offset!(iter_type));
        kind.map(usize::from) == Some(offset!(iter_type_ubuf))
            || read::<u64>(iter, offset!(iter_segments)) == Some(1)
    }

    /// Copies the first bytes of what is being sent to `head`, which is all zero,
    /// and gives where the sender keeps them.
    #[inline(always)]
    pub fn copy_head(self, head: &mut [u8; HEAD_LEN]) -> Option<u64> {
        let Self { header, size } = self;
        let iter = header.wrapping_add(offset!(msghdr_iter) as u64);
        let kind: u8 = read(iter, offset!(iter_type))?;
        let skip: u64 = read(iter, offset!(iter_offset))?;
        let base: u64 = if kind as usize == offset!(iter_type_ubuf) {
            read(iter, offset!(iter_ubuf))?
        } else if kind as usize == offset!(iter_type_iovec) {
            // `struct iovec`: base first.
            read(read(iter, offset!(iter_iov))?, 0)?
        } else {
            return None;
        };
        let at = base.wrapping_add(skip);
        let from = at as *const u8;
        let take = size as usize;
        if take >= HEAD_LEN {
            // SAFETY: the helper checks the address and fails instead of faulting.
            unsafe { bpf_probe_read_user_buf(from, head) }.ok()?;
        } else {
            // The verifier has to see the bound in the register that it checks;
            // without the volatile read the compiler drops the mask as needless.
            // SAFETY: a local.
            let len = unsafe { core::ptr::read_volatile(&size) } & (HEAD_LEN as u32 - 1);
            // SAFETY: `len` is within the buffer; the helper checks the address.
            let failed = unsafe {
                generated::bpf_probe_read_user(head.as_mut_ptr().cast(), len, from.cast())
            };
            if failed != 0 {
                return None;
            }
        }
        Some(at)
    }
}

/// A place of the head that a check has shown to be inside. Read anew: what the
/// compiler knows from that check makes the mask needless, and the verifier knows of
/// the mask alone.
#[inline(always)]
pub fn place(at: usize) -> usize {
    // SAFETY: a local.
    unsafe { core::ptr::read_volatile(&raw const at) & (HEAD_LEN - 1) }
}

/// As [`starts`], where `at` was found in the message itself.
#[inline(always)]
pub fn starts_at(head: &[u8; HEAD_LEN], at: usize, pattern: &[u8]) -> bool {
    at + pattern.len() <= HEAD_LEN && stands(head, place(at), pattern)
}

/// Does `pattern` stand at `at`? Out of bounds is no.
#[inline(always)]
pub fn starts(head: &[u8; HEAD_LEN], at: usize, pattern: &[u8]) -> bool {
    at + pattern.len() <= HEAD_LEN && stands(head, at, pattern)
}

#[inline(always)]
fn stands(head: &[u8; HEAD_LEN], at: usize, pattern: &[u8]) -> bool {
    let mut i = 0;
    while i < pattern.len() {
        // The mask is for the verifier; the callers' check bounds it already.
        if head[(at + i) & (HEAD_LEN - 1)] != pattern[i] {
            return false;
        }
        i += 1;
    }
    true
}
