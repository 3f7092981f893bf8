//! What is guessed of tools that nobody maps, beyond the plain words.

use super::*;

#[track_caller]
fn suspect(tool: &str, arguments: &Value) {
    let found = mapped(&[], tool, arguments);
    assert!(
        matches!(found, Mapped::Suspect { .. }),
        "{tool} {arguments}"
    );
}

#[track_caller]
fn harmless(tool: &str, arguments: &Value) {
    let found = mapped(&[], tool, arguments);
    assert!(
        matches!(found, Mapped::Harmless { .. }),
        "{tool} {arguments}: {found:?}"
    );
}

#[test]
fn what_stops_under_a_less_common_name_is_suspect() {
    let tools = "pkill send_signal vm_sigkill ctrl_alt_del send_key sendkey press_keys close_vm \
                 exit_vm helm_uninstall kubectl ipmitool deactivate undeploy standby proxmox_api \
                 call_libvirt_api";
    for tool in tools.split_whitespace() {
        suspect(tool, &json!({}));
    }
    let others = "close_issue exit_editor send_mail api_docs search_api signature create_key \
                  standing activate deploy install";
    for tool in others.split_whitespace() {
        harmless(tool, &json!({}));
    }
}

#[test]
fn a_name_that_looks_like_another_is_suspect() {
    for tool in [
        "vm_st\u{43e}p",
        "vm_\u{17f}top",
        "\u{ff56}\u{ff4d}_stop",
        "vm_s\u{200b}top",
        "list_vm\u{455}",
    ] {
        suspect(tool, &json!({}));
    }
    suspect("manage", &json!({"action": "st\u{43e}p"}));
    harmless("note", &json!({"text": "st\u{43e}p", "title": "Über"}));
}

#[test]
fn arguments_that_choose_under_a_longer_name_are_looked_at() {
    for arguments in [
        json!({"power_action": "off"}),
        json!({"powerAction": "off"}),
        json!({"vm_action": "stop"}),
        json!({"lifecycle_action": "stop"}),
        json!({"action": ["stop"]}),
        json!({"desired_status": "stopped"}),
        json!({"status": "stopped"}),
        json!({"runStrategy": "Halted"}),
        json!({"args": ["virsh", "destroy", "web-1"]}),
        json!({"argv": ["virsh", "destroy", "web-1"]}),
        json!({"cmdline": "uptime"}),
        json!({"command_line": "uptime"}),
        json!({"commandLine": "uptime"}),
        json!({"shell": "uptime"}),
        json!({"exec": "uptime"}),
        json!({"code": "import os"}),
        json!({"path": "/api2/json/nodes/n/qemu/100/status/stop"}),
        json!({"endpoint": "/nodes/n/qemu/100/status/stop/?x=1"}),
    ] {
        suspect("manage_thing", &arguments);
    }
    for arguments in [
        json!({"status": "open", "action": "start", "transaction": "7"}),
        json!({"args": ["web-1", "7"], "code": "US"}),
        json!({"path": "/srv/notes/stop.txt", "url": "https://example.org/list"}),
        json!({"runStrategy": "Always", "spec": {"running": true}}),
    ] {
        harmless("manage_thing", &arguments);
    }
}

#[test]
fn arguments_are_looked_at_inside_of_others() {
    for arguments in [
        json!({"spec": {"running": false}}),
        json!({"spec": {"runStrategy": "Halted"}}),
        json!({"body": {"action": "stop"}}),
        json!({"arguments": {"action": "stop"}}),
        json!({"params": {"spec": {"running": false}}}),
        json!({"steps": [{"action": "start"}, {"action": "stop"}]}),
    ] {
        suspect("manage_thing", &arguments);
    }
    harmless("manage_thing", &json!({"filter": {"state": "stopped"}}));
}

#[test]
fn a_state_is_a_filter_for_a_tool_that_looks_for_something() {
    for tool in [
        "vm_list",
        "list_vms",
        "search_vms",
        "vm_query",
        "count_servers",
    ] {
        let arguments = json!({"status": "stopped", "filter": {"running": false}});
        let found = mapped(&[], tool, &arguments);
        assert!(!matches!(found, Mapped::Suspect { .. }), "{tool}");
    }
    suspect("find_and_set", &json!({"status": "stopped"}));
    suspect("search_vms", &json!({"action": "stop"}));
}
