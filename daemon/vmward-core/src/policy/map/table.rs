//! The shipped entries, by MCP server: the first that matches counts.
//!
//! A tool name that several servers share stands under `any`. Where they
//! disagree about it, the harder reading is here:
//!
//! - `destroy_vm` destroys and then undefines on one server: delete.
//! - `stop_vm` with a `vmid` cuts the power (Proxmox); without, it asks the guest.
//! - Reverting to a snapshot ends the process that runs: a power cut. Restoring
//!   a backup over a VM deletes what it was.
//! - A server's own `confirm` argument says nothing: the model sets it.
//! - What acts on a whole node of a cluster may act on another host than this: it
//!   names no VM, and a stop that names none is denied. `host_reboot` is this host.

mod libvirt;
mod proxmox;

use super::{
    arguments::VM_KEYS,
    builtin::{
        Entry, Server,
        What::{self, Does, Nothing, Opaque},
        When::{self, Is, Only, Set},
    },
};
use crate::effect::Effect::{
    self, Delete, ForceStop, HostReboot, Migrate, Pause, Reboot, Reset, Save, Stop,
};

pub(super) static SERVERS: &[Server] = &[
    server("builtin:michael-abdo/tmux-claude-mcp-server", TMUX_CLAUDE),
    server("builtin:chrisjohntapp/libvirt-mcp", libvirt::CHRISJOHNTAPP),
    server("builtin:stratus-ss/kvm-mcp", libvirt::STRATUS),
    server("builtin:rzippert/libvirt-mcp", libvirt::RZIPPERT),
    server("builtin:aspectrr/virsh-sandbox", libvirt::VIRSH_SANDBOX),
    server("builtin:containers/kubernetes-mcp-server", KUBERNETES),
    server("builtin:nicholaswilde/proxmox-mcp-rs", proxmox::RUST),
    server("builtin:gilby125/mcp-proxmox", proxmox::SEPARATE),
    server("builtin:Bldg-7/proxmox-mcp", proxmox::MULTIPLEXED),
    server("builtin:Zaptimist/mcp-proxmox", proxmox::SHELL),
    server("builtin:any", ANY),
];

/// Runs what it is given, as root or close to it.
const PROGRAM: What = Opaque("it runs a command, which could do anything");
/// Chooses by an argument, and nothing is known about that choice.
const CHOICE: What = Opaque("nothing is known about what its arguments choose");

const NAME: &[&str] = &["name"];

const fn server(pointer: &'static str, entries: &'static [Entry]) -> Server {
    Server { pointer, entries }
}

/// The tools have this effect.
const fn does(
    tools: &'static [&'static str],
    effect: Effect,
    vm: &'static [&'static str],
) -> Entry {
    when(tools, &[], Does(effect), vm)
}

/// The tools have this effect unless the argument `force` is a plain no.
const fn forced(
    tools: &'static [&'static str],
    effect: Effect,
    vm: &'static [&'static str],
) -> Entry {
    when(tools, &[Set("force")], Does(effect), vm)
}

/// The tools stop nothing, and it does not matter which VM they name.
const fn harmless(tools: &'static [&'static str]) -> Entry {
    when(tools, &[], Nothing, &[])
}

const fn opaque(tools: &'static [&'static str], what: What, vm: &'static [&'static str]) -> Entry {
    when(tools, &[], what, vm)
}

const fn when(
    tools: &'static [&'static str],
    when: &'static [When],
    what: What,
    vm: &'static [&'static str],
) -> Entry {
    Entry {
        tools,
        when,
        what,
        vm,
    }
}

/// The server that vmward's first policy was written for. Its `vm_stop`,
/// `vm_start`, `vm_list` and `vm_terminate` are under `any`, with vmward's own.
/// `vm_ssh` answers with a command line and runs nothing; making an image
/// reboots the VM unless told otherwise.
#[rustfmt::skip]
const TMUX_CLAUDE: &[Entry] = &[
    harmless(&["vm_ssh", "vm_bulk_create"]),
    does(&["vm_create_image"], Reboot, VM_KEYS),
];

/// `resources_*` and `pods_*` take any object, a VM or the pod that it runs in.
#[rustfmt::skip]
const KUBERNETES: &[Entry] = &[
    when(&["vm_lifecycle"], &[Is("action", &["stop"])], Does(Stop), NAME),
    when(&["vm_lifecycle"], &[Is("action", &["restart"])], Does(Reboot), NAME),
    when(&["vm_lifecycle"], &[Is("action", &["pause"])], Does(Pause), NAME),
    when(&["vm_lifecycle"], &[Only("action", &["start", "unpause"])], Nothing, NAME),
    opaque(&["vm_lifecycle"], CHOICE, NAME),
    opaque(&["resources_create_or_update", "resources_delete", "pods_delete"], CHOICE, NAME),
    opaque(&["pods_exec", "pods_run"], PROGRAM, NAME),
];

/// vmward's own tools, and names that any server may use. `shutdown_vm` and
/// `list_vms` are MatiasVara/libvirt-mcp's; `stop_domain`, `reboot_domain` and
/// `delete_domain` coolnyx/libvirt-mcp-server's; `stop_vm` with `force` and
/// `reboot_vm` steveydevey/kvm-mcp's.
#[rustfmt::skip]
const ANY: &[Entry] = &[
    when(&["stop_vm"], &[Set("vmid")], Does(ForceStop), VM_KEYS),
    forced(&["vm_stop", "stop_vm", "stop_domain"], ForceStop, VM_KEYS),
    forced(&["vm_shutdown", "shutdown_vm", "shutdown_domain"], ForceStop, VM_KEYS),
    does(&["vm_stop", "stop_vm", "stop_domain"], Stop, VM_KEYS),
    does(&["vm_shutdown", "shutdown_vm", "shutdown_domain"], Stop, VM_KEYS),
    does(&["vm_force_stop", "force_stop_vm", "force_stop_domain"], ForceStop, VM_KEYS),
    does(&["vm_poweroff", "poweroff_vm", "power_off_vm", "kill_vm"], ForceStop, VM_KEYS),
    does(&["destroy_domain", "force_destroy_domain", "domain_destroy"], ForceStop, VM_KEYS),
    forced(&["vm_reboot", "reboot_vm", "reboot_domain"], Reset, VM_KEYS),
    forced(&["vm_restart", "restart_vm", "restart_domain"], Reset, VM_KEYS),
    does(&["vm_reboot", "reboot_vm", "reboot_domain"], Reboot, VM_KEYS),
    does(&["vm_restart", "restart_vm", "restart_domain"], Reboot, VM_KEYS),
    does(&["vm_reset", "reset_vm", "reset_domain"], Reset, VM_KEYS),
    does(&["vm_pause", "pause_vm", "pause_domain"], Pause, VM_KEYS),
    does(&["vm_suspend", "suspend_vm", "suspend_domain"], Pause, VM_KEYS),
    does(&["vm_save", "save_vm", "save_domain", "vm_hibernate", "hibernate_vm"], Save, VM_KEYS),
    does(&["managedsave_vm", "managedsave_domain"], Save, VM_KEYS),
    does(&["vm_migrate", "migrate_vm", "migrate_domain"], Migrate, VM_KEYS),
    does(&["vm_delete", "delete_vm", "delete_domain"], Delete, VM_KEYS),
    does(&["vm_destroy", "destroy_vm"], Delete, VM_KEYS),
    does(&["vm_undefine", "undefine_vm", "undefine_domain"], Delete, VM_KEYS),
    does(&["host_reboot"], HostReboot, &[]),
    does(&["vm_terminate", "terminate_vm", "remove_vm", "remove_domain"], Delete, VM_KEYS),
    when(
        &[
            "vm_start", "start_vm", "start_domain", "vm_resume", "resume_vm", "resume_domain",
            "vm_status", "vm_info", "get_vm_ip", "domain_info", "domain_stats", "get_domain_xml",
        ],
        &[],
        Nothing,
        VM_KEYS,
    ),
    harmless(&[
        "vm_list", "list_vms", "list_domains", "vm_create", "create_vm", "create_domain",
        "define_domain", "clone_vm", "host_info", "list_networks", "list_storage_pools",
        "attach_device", "detach_device", "generate_device_xml",
    ]),
];
