//! Files that are gone. The file system gives the number of such a file to the next
//! one, which must not be under guard in its place.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{ObjectKey, object};

use crate::maps::{OBJECTS, offset};
use crate::objects::identify;
use crate::task::load;

/// What the kernel forgets of a file, for want of memory as well; one without a name
/// is gone for good. This runs for every file of the host.
///
/// match-proto: security/security.c:void security_inode_free(struct inode *inode)
#[lsm(hook = "inode_free_security")]
pub fn inode_free_security(ctx: LsmContext) -> i32 {
    let inode: *const u8 = ctx.arg(0);
    let links: u32 = load(inode, offset!(inode_links));
    if links == 0 {
        is_gone(inode as u64);
    }
    0
}

#[inline(never)]
fn is_gone(inode: u64) -> i32 {
    if let Some((id, dev)) = identify(inode) {
        let kind = object::INODE;
        // Hardly any was under guard.
        let _ = OBJECTS.remove(ObjectKey { id, dev, kind });
    }
    0
}
