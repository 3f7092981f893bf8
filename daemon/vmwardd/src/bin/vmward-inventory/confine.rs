//! What this program gives up before it speaks to libvirt.
//!
//! It keeps the daemon's user: libvirt asks polkit about anybody but root, and a
//! host without polkit must be protected, too. It keeps none of root's
//! capabilities, cannot get them back, and can neither write nor run a file.

use std::os::fd::RawFd;

use anyhow::Context;
use landlock::{ABI, AccessFs, Ruleset, RulesetAttr, RulesetStatus, Scope};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::close;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Closes all descriptors but the standard three. Call before any is opened.
pub(crate) fn close_inherited() -> std::io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        match close(descriptor) {
            // That of the listing itself is closed by now.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gives up every privilege that asking libvirt does not need.
pub(crate) fn drop_privileges() -> anyhow::Result<()> {
    // The end of the input tells of the daemon's end, but not to a process that
    // is stopped.
    prctl::set_pdeathsig(Signal::SIGKILL).context("Failed to tie this program to its parent")?;
    prctl::set_no_new_privs().context("Failed to give up new privileges")?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).context("Failed to give up all capabilities")?;
    let status = restrict_files().context("Failed to give up writing files")?;
    if status == RulesetStatus::NotEnforced {
        tracing::info!("this kernel has no Landlock: vmward-inventory is not kept from files");
    }
    Ok(())
}

/// No file may be written, made, removed or run, and from Linux 6.12 on no
/// process outside be signalled. What the kernel does not know is left out.
fn restrict_files() -> Result<RulesetStatus, landlock::RulesetError> {
    let files = AccessFs::from_write(ABI::V6) | AccessFs::Execute;
    let restricted = Ruleset::default()
        .handle_access(files)?
        .scope(Scope::Signal)?
        .create()?
        .restrict_self()?;
    Ok(restricted.ruleset)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::ErrorKind;

    use super::*;

    /// In a thread of its own, because only that is restricted.
    #[test]
    fn where_the_kernel_has_landlock_no_file_can_be_written_made_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "as it was").unwrap();
        let new = dir.path().join("new");
        let tried = || {
            let status = restrict_files().unwrap();
            let writing = OpenOptions::new().append(true).open(&file).err();
            let making = fs::write(&new, "").err();
            let removing = fs::remove_file(&file).err();
            (status, [writing, making, removing])
        };
        let (status, errors) = std::thread::scope(|scope| scope.spawn(tried).join().unwrap());
        let refused = errors
            .map(|error| error.is_some_and(|error| error.kind() == ErrorKind::PermissionDenied));
        let has_landlock = status != RulesetStatus::NotEnforced;
        assert_eq!(refused, [has_landlock; 3], "{status:?}");
    }
}
