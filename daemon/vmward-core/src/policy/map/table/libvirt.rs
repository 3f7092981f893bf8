//! Servers that speak to libvirt, for the tool names that are theirs alone.

use super::{
    Delete, Entry, ForceStop, Migrate, NAME, PROGRAM, Pause, Reboot, Reset, Stop, does, forced,
    harmless, opaque,
};

const DOMAIN: &[&str] = &["domain"];
const VM_NAME: &[&str] = &["vm_name"];

/// Its arguments stand inside one object, `params`.
#[rustfmt::skip]
pub(super) const CHRISJOHNTAPP: &[Entry] = &[
    does(&["libvirt_shutdown_domain"], Stop, DOMAIN),
    does(&["libvirt_destroy_domain"], ForceStop, DOMAIN),
    does(&["libvirt_reboot_domain"], Reboot, DOMAIN),
    does(&["libvirt_suspend_domain"], Pause, DOMAIN),
    does(&["libvirt_migrate_vm"], Migrate, DOMAIN),
    does(&["libvirt_delete_vm", "libvirt_undefine_domain"], Delete, DOMAIN),
    harmless(&[
        "libvirt_start_domain", "libvirt_resume_domain", "libvirt_define_domain",
        "libvirt_create_vm", "libvirt_connect_host", "libvirt_disconnect_host",
    ]),
];

#[rustfmt::skip]
pub(super) const STRATUS: &[Entry] = &[
    forced(&["kvm_stop_vm", "ensure_vm_stopped"], ForceStop, VM_NAME),
    does(&["kvm_stop_vm", "ensure_vm_stopped"], Stop, VM_NAME),
    forced(&["kvm_restart_vm"], Reset, VM_NAME),
    does(&["kvm_restart_vm"], Reboot, VM_NAME),
    does(&["kvm_restore_snapshot"], ForceStop, VM_NAME),
    does(&["kvm_delete_vm"], Delete, VM_NAME),
    opaque(&["guest_exec"], PROGRAM, VM_NAME),
    harmless(&[
        "kvm_start_vm", "ensure_vm_running", "ensure_vm_exists", "kvm_create_vm", "kvm_clone_vm",
        "kvm_create_snapshot", "kvm_delete_snapshot", "kvm_remove_host",
    ]),
];

#[rustfmt::skip]
pub(super) const RZIPPERT: &[Entry] = &[
    does(&["snapshot_revert"], ForceStop, NAME),
    harmless(&[
        "snapshot_list", "snapshot_create", "snapshot_delete", "clone_from_template", "screenshot",
    ]),
];

/// A service of its own; the names are those of its operations.
#[rustfmt::skip]
pub(super) const VIRSH_SANDBOX: &[Entry] = &[
    forced(&["StopVM"], ForceStop, &["vm_name", "vmName"]),
    does(&["StopVM"], Stop, &["vm_name", "vmName"]),
    does(&["DestroyVM"], Delete, &["vm_name", "vmName"]),
];
