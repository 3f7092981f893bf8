//! Every row of the survey of MCP servers that stop VMs, and every shipped
//! entry at least once.

use Effect::{Delete, ForceStop, HostReboot, Migrate, Pause, Reboot, Reset, Save, Stop};

use super::*;

/// A tool and its arguments; what the map must say: an effect and the VM.
type Row = (&'static str, Value, Expected, Option<&'static str>);

#[derive(Clone, Copy)]
enum Expected {
    Does(Effect),
    Nothing,
    Suspect,
}
use Expected::{Does, Nothing, Suspect};

const A: Option<&str> = Some("a");
const VM_500: Option<&str> = Some("500");

#[test]
fn every_surveyed_server_is_mapped_and_every_entry_is_needed() {
    let groups = [
        ("seed and vmward", own_servers()),
        ("libvirt", libvirt()),
        ("proxmox", proxmox()),
        ("multiplexed", multiplexed()),
        ("others", others()),
        ("any", any()),
    ];
    let mut hit = BTreeSet::new();
    for (group, rows) in &groups {
        for (tool, arguments, expected, vm) in rows {
            let found = match mapped(&[], tool, arguments) {
                Mapped::Known { effect, vm, .. } => (Some(effect), vm),
                Mapped::Suspect { vm, .. } => (None, vm),
                Mapped::Harmless { .. } => panic!("{group}: {tool} is not mapped"),
            };
            let effect = match expected {
                Does(effect) => Some(Some(*effect)),
                Nothing => Some(None),
                Suspect => None,
            };
            let expected = (effect, vm.map(ToOwned::to_owned));
            assert_eq!(found, expected, "{group}: {tool} {arguments}");
            let arguments = arguments.as_object().expect("an object");
            if let Some((_, entry)) = find(tool, arguments) {
                hit.insert((std::ptr::from_ref(entry), *tool));
            }
        }
    }
    for server in table::SERVERS {
        for entry in server.entries {
            let mut tools = entry.tools.iter();
            let covered = |tool: &&str| hit.contains(&(std::ptr::from_ref(entry), *tool));
            // One of many harmless tools stands for all; a stop stands for itself.
            let complete = match entry.what {
                What::Nothing => tools.any(covered),
                What::Does(_) | What::Opaque(_) => tools.all(covered),
            };
            assert!(complete, "{}: {:?} has no row", server.pointer, entry.tools);
        }
    }
}

#[test]
fn no_tool_stands_twice_under_the_same_condition() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for entry in table::SERVERS.iter().flat_map(|server| server.entries) {
        for tool in entry.tools {
            assert!(
                !seen.contains(tool),
                "{tool} is never reached a second time"
            );
        }
        if entry.when.is_empty() {
            seen.extend(entry.tools);
        }
    }
}

#[rustfmt::skip]
fn own_servers() -> Vec<Row> {
    vec![
        ("vm_stop", json!({"identifier": "a"}), Does(Stop), A),
        ("vm_stop", json!({"identifier": "a", "force": true}), Does(ForceStop), A),
        ("vm_start", json!({"identifier": "a"}), Nothing, A),
        ("vm_terminate", json!({"identifier": "a", "confirm": true}), Does(Delete), A),
        ("vm_create", json!({"name": "a", "instanceType": "t3"}), Nothing, None),
        ("vm_bulk_create", json!({"namePrefix": "a", "count": 3}), Nothing, None),
        ("vm_list", json!({}), Nothing, None),
        ("vm_status", json!({"identifier": "a"}), Nothing, A),
        ("vm_ssh", json!({"identifier": "a"}), Nothing, None),
        ("vm_create_image", json!({"identifier": "a"}), Does(Reboot), A),
    ]
}

#[rustfmt::skip]
fn libvirt() -> Vec<Row> {
    let nested = || json!({"params": {"alias": "lab", "domain": "a"}});
    vec![
        // MatiasVara/libvirt-mcp
        ("shutdown_vm", json!({"vm_name": "a"}), Does(Stop), A),
        ("destroy_vm", json!({"vm_name": "a"}), Does(Delete), A),
        ("list_vms", json!({}), Nothing, None),
        ("get_vm_ip", json!({"vm_name": "a"}), Nothing, A),
        // coolnyx/libvirt-mcp-server
        ("stop_domain", json!({"name": "a", "force": false}), Does(Stop), A),
        ("stop_domain", json!({"name": "a", "force": true}), Does(ForceStop), A),
        ("reboot_domain", json!({"name": "a"}), Does(Reboot), A),
        ("reboot_domain", json!({"name": "a", "force": true}), Does(Reset), A),
        ("delete_domain", json!({"name": "a", "remove_storage": true}), Does(Delete), A),
        ("domain_info", json!({"name": "a"}), Nothing, A),
        // chrisjohntapp/libvirt-mcp
        ("libvirt_shutdown_domain", nested(), Does(Stop), A),
        ("libvirt_shutdown_domain", json!({"alias": "lab", "domain": "a"}), Does(Stop), A),
        ("libvirt_destroy_domain", nested(), Does(ForceStop), A),
        ("libvirt_reboot_domain", nested(), Does(Reboot), A),
        ("libvirt_suspend_domain", nested(), Does(Pause), A),
        ("libvirt_migrate_vm", nested(), Does(Migrate), A),
        ("libvirt_delete_vm", nested(), Does(Delete), A),
        ("libvirt_undefine_domain", nested(), Does(Delete), A),
        ("libvirt_start_domain", nested(), Nothing, None),
        // rzippert/libvirt-mcp
        ("shutdown_domain", json!({"name": "a", "wait_seconds": 30}), Does(Stop), A),
        ("force_destroy_domain", json!({"name": "a", "confirm": true}), Does(ForceStop), A),
        ("force_destroy_domain", json!({"name": "a"}), Does(ForceStop), A),
        ("snapshot_revert", json!({"name": "a", "snapshot": "s"}), Does(ForceStop), A),
        ("snapshot_delete", json!({"name": "a", "snapshot": "s"}), Nothing, None),
        // stratus-ss/kvm-mcp
        ("kvm_stop_vm", json!({"vm_name": "a", "host": "h"}), Does(Stop), A),
        ("kvm_stop_vm", json!({"vm_name": "a", "force": true}), Does(ForceStop), A),
        ("ensure_vm_stopped", json!({"vm_name": "a"}), Does(Stop), A),
        ("ensure_vm_stopped", json!({"vm_name": "a", "force": true}), Does(ForceStop), A),
        ("kvm_restart_vm", json!({"vm_name": "a"}), Does(Reboot), A),
        ("kvm_restart_vm", json!({"vm_name": "a", "force": true}), Does(Reset), A),
        ("kvm_restore_snapshot", json!({"vm_name": "a"}), Does(ForceStop), A),
        ("kvm_delete_vm", json!({"vm_name": "a", "confirm": true}), Does(Delete), A),
        ("guest_exec", json!({"vm_name": "a", "command": "poweroff"}), Suspect, A),
        ("kvm_delete_snapshot", json!({"vm_name": "a"}), Nothing, None),
        // steveydevey/kvm-mcp
        ("stop_vm", json!({"vm_name": "a"}), Does(Stop), A),
        ("stop_vm", json!({"vm_name": "a", "force": true}), Does(ForceStop), A),
        ("reboot_vm", json!({"vm_name": "a"}), Does(Reboot), A),
        // aspectrr/virsh-sandbox
        ("StopVM", json!({"vm_name": "a"}), Does(Stop), A),
        ("StopVM", json!({"vmName": "a", "force": true}), Does(ForceStop), A),
        ("DestroyVM", json!({"vm_name": "a"}), Does(Delete), A),
    ]
}

#[rustfmt::skip]
fn proxmox() -> Vec<Row> {
    let vm = || json!({"node": "pve1", "vmid": 500});
    let text = || json!({"node": "pve1", "vmid": "500"});
    let mode = |mode: &str| json!({"node": "pve1", "vmid": 500, "mode": mode});
    let command = || json!({"node": "pve1", "vmid": 500, "command": "poweroff"});
    vec![
        // nicholaswilde/proxmox-mcp-rs
        ("stop_vm", json!({"node": "pve1", "vmid": 500, "type": "qemu"}), Does(ForceStop), VM_500),
        ("shutdown_vm", vm(), Does(Stop), VM_500),
        ("reset_vm", vm(), Does(Reset), VM_500),
        ("delete_vm", vm(), Does(Delete), VM_500),
        ("migrate_vm", vm(), Does(Migrate), VM_500),
        ("stop_container", vm(), Does(ForceStop), VM_500),
        ("shutdown_container", vm(), Does(Stop), VM_500),
        ("reset_container", vm(), Does(Reset), VM_500),
        ("rollback_vm", vm(), Does(ForceStop), VM_500),
        ("delete_container", vm(), Does(Delete), VM_500),
        ("restore_backup", vm(), Does(Delete), VM_500),
        ("create_backup", mode("stop"), Does(Stop), VM_500),
        ("create_backup", mode("suspend"), Does(Pause), VM_500),
        ("create_backup", mode("snapshot"), Nothing, None),
        ("vm_exec", command(), Suspect, VM_500),
        // gilby125/mcp-proxmox
        ("proxmox_stop_vm", text(), Does(ForceStop), VM_500),
        ("proxmox_stop_lxc", text(), Does(ForceStop), VM_500),
        ("proxmox_shutdown_vm", text(), Does(Stop), VM_500),
        ("proxmox_shutdown_lxc", text(), Does(Stop), VM_500),
        ("proxmox_reboot_vm", text(), Does(Reboot), VM_500),
        ("proxmox_reboot_lxc", text(), Does(Reboot), VM_500),
        ("proxmox_pause_vm", text(), Does(Pause), VM_500),
        ("proxmox_migrate_vm", text(), Does(Migrate), VM_500),
        ("proxmox_migrate_lxc", text(), Does(Migrate), VM_500),
        ("proxmox_delete_vm", text(), Does(Delete), VM_500),
        ("proxmox_delete_lxc", text(), Does(Delete), VM_500),
        ("proxmox_rollback_snapshot_vm", text(), Does(ForceStop), VM_500),
        ("proxmox_rollback_snapshot_lxc", text(), Does(ForceStop), VM_500),
        ("proxmox_restore_backup_vm", text(), Does(Delete), VM_500),
        ("proxmox_restore_backup_lxc", text(), Does(Delete), VM_500),
        ("proxmox_create_backup_vm", mode("stop"), Does(Stop), VM_500),
        ("proxmox_create_backup_lxc", mode("stop"), Does(Stop), VM_500),
        ("proxmox_create_backup_vm", mode("suspend"), Does(Pause), VM_500),
        ("proxmox_create_backup_lxc", mode("suspend"), Does(Pause), VM_500),
        ("proxmox_execute_vm_command", command(), Suspect, VM_500),
        ("proxmox_start_vm", text(), Nothing, None),
        // Zaptimist/mcp-proxmox
        ("proxmox_run_host_command", json!({"command": "qm stop 500"}), Suspect, None),
    ]
}

/// Bldg-7/proxmox-mcp
#[rustfmt::skip]
fn multiplexed() -> Vec<Row> {
    let vm = || json!({"type": "vm", "node": "pve1", "vmid": 500});
    let with = |key: &str, word: &str| json!({"node": "pve1", "vmid": 500, key: word});
    let action = |word: &str| with("action", word);
    let operation = |word: &str| with("operation", word);
    let backup = |word: &str| json!({"action": "create", "vmid": 500, "mode": word});
    vec![
        ("proxmox_guest_stop", vm(), Does(ForceStop), VM_500),
        ("proxmox_guest_shutdown", vm(), Does(Stop), VM_500),
        ("proxmox_guest_reboot", vm(), Does(Reboot), VM_500),
        ("proxmox_guest_pause", vm(), Does(Pause), VM_500),
        ("proxmox_guest_migrate", vm(), Does(Migrate), VM_500),
        ("proxmox_guest_delete", vm(), Does(Delete), VM_500),
        ("proxmox_guest_start", vm(), Nothing, None),
        ("proxmox_guest_snapshot", action("rollback"), Does(ForceStop), VM_500),
        ("proxmox_guest_snapshot", action("delete"), Nothing, VM_500),
        ("proxmox_guest_snapshot", vm(), Suspect, VM_500),
        ("proxmox_backup", action("restore"), Does(Delete), VM_500),
        ("proxmox_backup", backup("stop"), Does(Stop), VM_500),
        ("proxmox_backup", backup("suspend"), Does(Pause), VM_500),
        ("proxmox_backup", backup("snapshot"), Nothing, VM_500),
        ("proxmox_backup", vm(), Suspect, VM_500),
        ("proxmox_agent_power", operation("shutdown"), Does(Stop), VM_500),
        ("proxmox_agent_power", operation("suspend_disk"), Does(Save), VM_500),
        ("proxmox_agent_power", operation("suspend_ram"), Does(Pause), VM_500),
        ("proxmox_agent_power", vm(), Suspect, VM_500),
        ("proxmox_agent_freeze", operation("freeze"), Does(Pause), VM_500),
        ("proxmox_agent_freeze", operation("thaw"), Nothing, VM_500),
        ("proxmox_agent_freeze", vm(), Suspect, VM_500),
        ("proxmox_agent_exec", operation("exec"), Suspect, VM_500),
        ("proxmox_agent_exec", operation("status"), Nothing, VM_500),
        ("proxmox_lxc_exec", vm(), Suspect, VM_500),
        ("proxmox_node_bulk", action("stop_all"), Does(ForceStop), None),
        ("proxmox_node_bulk", action("migrate_all"), Does(Migrate), None),
        ("proxmox_node_bulk", action("start_all"), Nothing, None),
        ("proxmox_node_bulk", json!({}), Suspect, None),
        ("proxmox_node_power", action("shutdown"), Does(Stop), None),
        ("proxmox_node_power", action("reboot"), Does(Reboot), None),
        ("proxmox_node_power", action("wakeonlan"), Nothing, None),
        ("proxmox_node_power", json!({}), Suspect, None),
        ("proxmox_node_service", action("control"), Suspect, None),
        ("proxmox_node_service", action("list"), Nothing, None),
        // Its first releases
        ("proxmox_control_node_service", json!({"command": "stop"}), Suspect, None),
        ("proxmox_agent_shutdown", vm(), Does(Stop), VM_500),
        ("proxmox_agent_suspend_ram", vm(), Does(Pause), VM_500),
        ("proxmox_agent_suspend_disk", vm(), Does(Save), VM_500),
        ("proxmox_agent_suspend_hybrid", vm(), Does(Save), VM_500),
        ("proxmox_agent_fsfreeze_freeze", vm(), Does(Pause), VM_500),
        ("proxmox_stop_all", json!({"node": "pve1"}), Does(ForceStop), None),
        ("proxmox_migrate_all", json!({"node": "pve1"}), Does(Migrate), None),
        ("proxmox_node_shutdown", json!({"node": "pve1"}), Does(Stop), None),
        ("proxmox_node_reboot", json!({"node": "pve1"}), Does(Reboot), None),
    ]
}

#[rustfmt::skip]
fn others() -> Vec<Row> {
    let vm = |action: &str| json!({"namespace": "default", "name": "a", "action": action});
    vec![
        // containers/kubernetes-mcp-server
        ("vm_lifecycle", vm("stop"), Does(Stop), A),
        ("vm_lifecycle", vm("restart"), Does(Reboot), A),
        ("vm_lifecycle", vm("pause"), Does(Pause), A),
        ("vm_lifecycle", vm("start"), Nothing, A),
        ("vm_lifecycle", vm("evict"), Suspect, A),
        ("resources_create_or_update", json!({"resource": "kind: VirtualMachine"}), Suspect, None),
        ("resources_delete", json!({"kind": "VirtualMachine", "name": "a"}), Suspect, A),
        ("pods_delete", json!({"name": "a"}), Suspect, A),
        ("pods_exec", json!({"name": "a", "command": ["kill", "1"]}), Suspect, A),
        ("pods_run", json!({"name": "a", "image": "x"}), Suspect, A),
        // vmward's own, of the host
        ("host_reboot", json!({"reason": "a new kernel"}), Does(HostReboot), None),
        // Found by their names only: no entry, so the guess must catch them.
        ("qmp_command", json!({"name": "a"}), Suspect, A),
        ("stop_server", json!({"name": "a"}), Suspect, A),
        ("press_power_button", json!({}), Suspect, None),
    ]
}

#[rustfmt::skip]
fn any() -> Vec<Row> {
    let effects: [(Effect, &[&str]); 8] = [
        (Stop, &["vm_shutdown"]),
        (
            ForceStop,
            &[
                "vm_force_stop", "force_stop_vm", "force_stop_domain", "vm_poweroff",
                "poweroff_vm", "power_off_vm", "kill_vm", "destroy_domain", "domain_destroy",
            ],
        ),
        (Reboot, &["vm_reboot", "vm_restart", "restart_vm", "restart_domain"]),
        (Reset, &["vm_reset", "reset_domain"]),
        (
            Pause,
            &[
                "vm_pause", "pause_vm", "pause_domain", "vm_suspend", "suspend_vm",
                "suspend_domain",
            ],
        ),
        (
            Save,
            &[
                "vm_save", "save_vm", "save_domain", "vm_hibernate", "hibernate_vm",
                "managedsave_vm", "managedsave_domain",
            ],
        ),
        (Migrate, &["vm_migrate", "migrate_domain"]),
        (
            Delete,
            &[
                "vm_delete", "vm_destroy", "vm_undefine", "undefine_vm", "undefine_domain",
                "terminate_vm", "remove_vm", "remove_domain",
            ],
        ),
    ];
    let named = || json!({"name": "a"});
    let mut rows: Vec<Row> = Vec::new();
    for (effect, tools) in effects {
        rows.extend(tools.iter().map(|tool| (*tool, named(), Does(effect), A)));
    }
    let forced = [
        ("vm_shutdown", ForceStop), ("shutdown_vm", ForceStop), ("shutdown_domain", ForceStop),
        ("vm_reboot", Reset), ("reboot_vm", Reset), ("vm_restart", Reset), ("restart_vm", Reset),
        ("restart_domain", Reset),
    ];
    let arguments = || json!({"name": "a", "force": true});
    rows.extend(forced.map(|(tool, effect)| (tool, arguments(), Does(effect), A)));
    rows
}
