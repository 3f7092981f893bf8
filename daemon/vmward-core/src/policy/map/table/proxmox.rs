//! Servers that speak to Proxmox, for the tool names that are theirs alone.
//! Containers count as VMs here: stopping one stops somebody's machine, too.

use super::{
    CHOICE, Delete, Does, Entry, ForceStop, Is, Migrate, Nothing, Only, PROGRAM, Pause, Reboot,
    Reset, Save, Stop, does, harmless, opaque, when,
};

const VMID: &[&str] = &["vmid"];
const NODE: &[&str] = &[];

/// `stop_vm`, `shutdown_vm`, `reboot_vm`, `reset_vm`, `delete_vm` and
/// `migrate_vm` are under `any`.
#[rustfmt::skip]
pub(super) const RUST: &[Entry] = &[
    does(&["stop_container"], ForceStop, VMID),
    does(&["shutdown_container"], Stop, VMID),
    does(&["reset_container"], Reset, VMID),
    does(&["rollback_vm"], ForceStop, VMID),
    does(&["delete_container", "restore_backup"], Delete, VMID),
    when(&["create_backup"], &[Is("mode", &["stop"])], Does(Stop), VMID),
    when(&["create_backup"], &[Is("mode", &["suspend"])], Does(Pause), VMID),
    opaque(&["vm_exec"], PROGRAM, VMID),
    harmless(&[
        "create_backup", "vm_exec_status", "start_container", "snapshot_vm", "delete_snapshot",
        "delete_firewall_rule", "delete_pool", "delete_replication_job", "delete_role",
        "delete_user", "remove_disk", "remove_ha_resource", "remove_lxc_mountpoint",
        "remove_network", "remove_tag", "remove_vm_device", "run_apt_update",
    ]),
];

/// The same names are in the first releases of the multiplexed server below.
#[rustfmt::skip]
pub(super) const SEPARATE: &[Entry] = &[
    does(&["proxmox_stop_vm", "proxmox_stop_lxc"], ForceStop, VMID),
    does(&["proxmox_shutdown_vm", "proxmox_shutdown_lxc"], Stop, VMID),
    does(&["proxmox_reboot_vm", "proxmox_reboot_lxc"], Reboot, VMID),
    does(&["proxmox_pause_vm"], Pause, VMID),
    does(&["proxmox_migrate_vm", "proxmox_migrate_lxc"], Migrate, VMID),
    does(&["proxmox_delete_vm", "proxmox_delete_lxc"], Delete, VMID),
    does(&["proxmox_rollback_snapshot_vm", "proxmox_rollback_snapshot_lxc"], ForceStop, VMID),
    does(&["proxmox_restore_backup_vm", "proxmox_restore_backup_lxc"], Delete, VMID),
    when(&["proxmox_create_backup_vm", "proxmox_create_backup_lxc"], &[Is("mode", &["stop"])], Does(Stop), VMID),
    when(&["proxmox_create_backup_vm", "proxmox_create_backup_lxc"], &[Is("mode", &["suspend"])], Does(Pause), VMID),
    opaque(&["proxmox_execute_vm_command"], PROGRAM, VMID),
    harmless(&[
        "proxmox_create_backup_vm", "proxmox_create_backup_lxc", "proxmox_start_vm",
        "proxmox_start_lxc", "proxmox_resume_vm", "proxmox_create_vm", "proxmox_create_lxc",
        "proxmox_clone_vm", "proxmox_clone_lxc", "proxmox_delete_backup",
        "proxmox_delete_snapshot_vm", "proxmox_delete_snapshot_lxc", "proxmox_remove_disk_vm",
        "proxmox_remove_mountpoint_lxc", "proxmox_remove_network_vm", "proxmox_remove_network_lxc",
    ]),
];

#[rustfmt::skip]
pub(super) const MULTIPLEXED: &[Entry] = &[
    does(&["proxmox_guest_stop"], ForceStop, VMID),
    does(&["proxmox_guest_shutdown", "proxmox_agent_shutdown"], Stop, VMID),
    does(&["proxmox_guest_reboot"], Reboot, VMID),
    does(&["proxmox_guest_pause", "proxmox_agent_suspend_ram"], Pause, VMID),
    does(&["proxmox_agent_fsfreeze_freeze"], Pause, VMID),
    does(&["proxmox_agent_suspend_disk", "proxmox_agent_suspend_hybrid"], Save, VMID),
    does(&["proxmox_guest_migrate"], Migrate, VMID),
    does(&["proxmox_guest_delete"], Delete, VMID),
    when(&["proxmox_guest_snapshot"], &[Is("action", &["rollback"])], Does(ForceStop), VMID),
    when(&["proxmox_guest_snapshot"], &[Only("action", &["create", "list", "delete"])], Nothing, VMID),
    when(&["proxmox_backup"], &[Is("action", &["restore"])], Does(Delete), VMID),
    when(&["proxmox_backup"], &[Is("mode", &["stop"])], Does(Stop), VMID),
    when(&["proxmox_backup"], &[Is("mode", &["suspend"])], Does(Pause), VMID),
    when(&["proxmox_backup"], &[Only("action", &["create", "list", "delete"])], Nothing, VMID),
    when(&["proxmox_agent_power"], &[Is("operation", &["suspend_disk", "suspend_hybrid"])], Does(Save), VMID),
    when(&["proxmox_agent_power"], &[Is("operation", &["suspend_ram"])], Does(Pause), VMID),
    when(&["proxmox_agent_power"], &[Is("operation", &["shutdown"])], Does(Stop), VMID),
    when(&["proxmox_agent_freeze"], &[Is("operation", &["freeze"])], Does(Pause), VMID),
    when(&["proxmox_agent_freeze"], &[Only("operation", &["status", "thaw", "fstrim"])], Nothing, VMID),
    when(&["proxmox_node_bulk"], &[Is("action", &["stop_all"])], Does(ForceStop), NODE),
    when(&["proxmox_node_bulk"], &[Is("action", &["migrate_all"])], Does(Migrate), NODE),
    when(&["proxmox_node_bulk"], &[Only("action", &["start_all"])], Nothing, NODE),
    when(&["proxmox_node_power"], &[Is("action", &["shutdown"])], Does(Stop), NODE),
    when(&["proxmox_node_power"], &[Is("action", &["reboot"])], Does(Reboot), NODE),
    when(&["proxmox_node_power"], &[Only("action", &["wakeonlan"])], Nothing, NODE),
    when(&["proxmox_node_service"], &[Only("action", &["list"])], Nothing, NODE),
    when(&["proxmox_agent_exec"], &[Only("operation", &["status"])], Nothing, VMID),
    does(&["proxmox_stop_all"], ForceStop, NODE),
    does(&["proxmox_migrate_all"], Migrate, NODE),
    does(&["proxmox_node_shutdown"], Stop, NODE),
    does(&["proxmox_node_reboot"], Reboot, NODE),
    opaque(&["proxmox_agent_exec", "proxmox_lxc_exec"], PROGRAM, VMID),
    opaque(&["proxmox_guest_snapshot", "proxmox_backup", "proxmox_agent_power", "proxmox_agent_freeze"], CHOICE, VMID),
    opaque(&["proxmox_node_bulk", "proxmox_node_power", "proxmox_node_service", "proxmox_control_node_service"], CHOICE, NODE),
    harmless(&[
        "proxmox_guest_list", "proxmox_guest_status", "proxmox_guest_start", "proxmox_guest_resume",
        "proxmox_guest_clone", "proxmox_guest_resize", "proxmox_guest_config_update",
    ]),
];

/// One tool, which hands a command line to a shell on the host.
pub(super) const SHELL: &[Entry] = &[opaque(&["proxmox_run_host_command"], PROGRAM, NODE)];
