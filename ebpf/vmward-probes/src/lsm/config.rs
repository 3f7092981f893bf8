//! Configuration: libvirt's, with its hooks and its domains, and vmward's. An
//! administrator's to change, and on the record while VMs run. Refuses nothing.

use vmward_abi::{event_kind, object_class, vector};

use super::own::Deed;
use crate::cgroups::host_with_vms;
use crate::emit::{Report, emit};
use crate::maps::{is_active, offset};
use crate::name::Name;
use crate::objects::{inode_of, of_inode};
use crate::task::{opaque, read};
use crate::verdict::Attempt;

/// Does the `struct dentry` at this address lie in a folder of configuration?
pub fn is_in_folder(dentry: u64) -> bool {
    let above: u64 = read(dentry, offset!(dentry_parent)).unwrap_or(0);
    of_inode(inode_of(above)).is_some_and(|row| row.class == object_class::CONFIG)
}

/// Records what is done to the file of the `struct dentry` at this address, by
/// its name.
#[inline(always)]
pub fn witness(dentry: u64, deed: Deed) -> i32 {
    vmward_witness_config(dentry, deed as u32);
    0
}

/// [`witness`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_witness_config(dentry: u64, deed: u32) -> i32 {
    if is_active()
        && let Some(vm) = host_with_vms()
    {
        let name = Name::at(read(dentry, offset!(dentry_name)).unwrap_or(0));
        let attempt = Attempt {
            detail: deed,
            word: name.address(),
            ..Attempt::new(vector::CONFIG, 0)
        };
        emit(&vm, &attempt, &Report::of(event_kind::WITNESSED));
    }
    opaque(0)
}
