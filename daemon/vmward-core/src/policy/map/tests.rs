use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{builtin::find, *};
use crate::policy::facts::CallerFacts;

mod guessed;
mod shipped;

fn facts<'a>(
    server: Option<&'a str>,
    tool: &'a str,
    arguments: &'a Map<String, Value>,
) -> Facts<'a> {
    Facts {
        tool,
        server,
        effect: None,
        arguments,
        vm: None,
        caller: CallerFacts {
            grant: "uid:0",
            uid: 0,
            unit: None,
            exe: None,
            agent: None,
        },
    }
}

fn mapped(own: &[MapEntry], tool: &str, arguments: &Value) -> Mapped {
    let arguments = arguments.as_object().expect("an object");
    look_up(own, &facts(None, tool, arguments))
}

fn entry(tool: &str, effect: Option<Effect>) -> MapEntry {
    MapEntry {
        pointer: "/effect_map/0".to_owned(),
        server: None,
        tool: tool.to_owned(),
        when: Vec::new(),
        effect,
        vm: Vec::new(),
    }
}

#[test]
fn the_policys_own_entry_comes_before_the_built_in_one() {
    let own = [entry("vm_start", Some(Effect::Reset))];
    let expected = Mapped::Known {
        pointer: "/effect_map/0".into(),
        effect: Some(Effect::Reset),
        vm: Some("a".to_owned()),
    };
    assert_eq!(mapped(&own, "vm_start", &json!({"name": "a"})), expected);
    let built_in = Mapped::Known {
        pointer: "builtin:any".into(),
        effect: None,
        vm: Some("a".to_owned()),
    };
    assert_eq!(mapped(&[], "vm_start", &json!({"name": "a"})), built_in);
}

#[test]
fn an_entry_with_conditions_is_for_the_calls_that_meet_them() {
    let when = |op, value: Value| {
        let path = Path::parse("args.mode").expect("a path");
        let pointer = "/effect_map/0/when/0".to_owned();
        vec![Predicate::new(pointer, path, op, Some(&value), None).expect("a condition")]
    };
    let target = vec![Path::parse("args.target.id").expect("a path")];
    let own = [MapEntry {
        when: when("eq", json!("hard")),
        vm: target,
        ..entry("frob", Some(Effect::ForceStop))
    }];
    let hard = json!({"mode": "hard", "target": {"id": "a"}, "name": "b"});
    let expected = Mapped::Known {
        pointer: "/effect_map/0".into(),
        effect: Some(Effect::ForceStop),
        vm: Some("a".to_owned()),
    };
    assert_eq!(mapped(&own, "frob", &hard), expected);
    let soft = json!({"mode": "soft", "target": {"id": "a"}});
    assert_eq!(mapped(&own, "frob", &soft), Mapped::Harmless { vm: None });

    // A condition that cannot be judged must not let a later entry answer.
    let harmless = [
        MapEntry {
            when: when("lt", json!(5)),
            ..entry("frob", Some(Effect::Stop))
        },
        entry("frob", None),
    ];
    let Mapped::Suspect { why, .. } = mapped(&harmless, "frob", &soft) else {
        panic!("must be suspect");
    };
    assert!(
        why.starts_with("/effect_map/0/when/0 cannot be judged: "),
        "{why}"
    );
    let known = mapped(&harmless, "frob", &json!({"mode": 7}));
    assert!(matches!(known, Mapped::Known { effect: None, .. }));
}

#[test]
fn an_entry_for_one_server_is_not_for_another_or_for_none() {
    let mut own = entry("frobnicate", Some(Effect::Stop));
    own.server = Some("lab".to_owned());
    let own = [own];
    let arguments = Map::new();
    let found = |server| look_up(&own, &facts(server, "frobnicate", &arguments));
    assert!(matches!(found(Some("lab")), Mapped::Known { .. }));
    assert_eq!(found(Some("other")), Mapped::Harmless { vm: None });
    assert_eq!(found(None), Mapped::Harmless { vm: None });
}

#[test]
fn an_own_entry_opens_a_tool_that_could_do_anything() {
    let arguments = json!({"command": "qm list"});
    let tool = "proxmox_run_host_command";
    let Mapped::Suspect { why, .. } = mapped(&[], tool, &arguments) else {
        panic!("must be suspect");
    };
    assert_eq!(why, "it runs a command, which could do anything");
    let own = [entry(tool, None)];
    let found = mapped(&own, tool, &arguments);
    assert!(matches!(found, Mapped::Known { effect: None, .. }));
}

#[test]
fn no_spelling_of_force_or_action_hides_the_harder_reading() {
    for arguments in [
        json!({"name": "a", "force": true}),
        json!({"name": "a", "force": "false"}),
        json!({"name": "a", "force": 0}),
        json!({"name": "a", "Force": true}),
        json!({"name": "a", "force": false, "FORCE": true}),
        json!({"params": {"name": "a", "force": []}}),
    ] {
        let found = mapped(&[], "stop_domain", &arguments);
        let Mapped::Known { effect, vm, .. } = found else {
            panic!("{arguments}");
        };
        assert_eq!(effect, Some(Effect::ForceStop), "{arguments}");
        assert_eq!(vm.as_deref(), Some("a"), "{arguments}");
    }
    for (arguments, effect) in [
        (json!({"action": " Stop "}), Some(Effect::Stop)),
        (
            json!({"action": "start", "Action": "stop"}),
            Some(Effect::Stop),
        ),
        (json!({"action": "START"}), None),
    ] {
        let Mapped::Known { effect: found, .. } = mapped(&[], "vm_lifecycle", &arguments) else {
            panic!("{arguments}");
        };
        assert_eq!(found, effect, "{arguments}");
    }
    for arguments in [
        json!({}),
        json!({"action": "halt"}),
        json!({"action": "start", "Action": "nuke"}),
        json!({"action": ["stop"]}),
        json!({"action": null}),
    ] {
        let found = mapped(&[], "vm_lifecycle", &arguments);
        assert!(matches!(found, Mapped::Suspect { .. }), "{arguments}");
    }
}

#[test]
fn a_call_that_names_two_vms_names_none() {
    for (arguments, vm) in [
        (json!({"identifier": "a"}), Some("a")),
        (json!({"identifier": "a", "name": "a"}), Some("a")),
        (json!({"identifier": "a", "name": "b"}), None),
        (json!({"name": "a", "Name": "b"}), None),
        (json!({"name": "a", "params": {"name": "b"}}), None),
        (json!({"identifier": 7}), None),
        (json!({"vmid": 7}), Some("7")),
        (json!({"vmid": 7.0}), None),
        (json!({"identifier": "a", "name": null}), Some("a")),
        // Who knows which of them the server takes, and as what.
        (json!({"identifier": "a", "name": ["b"]}), None),
        (json!({"identifier": "a", "vm": {"name": "b"}}), None),
        (json!({"identifier": "a", "uuid": 7}), None),
        // No VM is called that, whatever the server makes of it.
        (json!({"identifier": ""}), None),
        (json!({"identifier": " "}), None),
        (json!({"identifier": "a".repeat(257)}), None),
        (json!({"identifier": "", "name": "a"}), None),
    ] {
        let Mapped::Known {
            effect, vm: found, ..
        } = mapped(&[], "vm_stop", &arguments)
        else {
            panic!("{arguments}");
        };
        assert_eq!(effect, Some(Effect::Stop), "{arguments}");
        assert_eq!(found.as_deref(), vm, "{arguments}");
    }
    // Where the server is known, its argument alone counts.
    let arguments = json!({"vm_name": "a", "name": "b"});
    let Mapped::Known { vm, .. } = mapped(&[], "kvm_stop_vm", &arguments) else {
        panic!("must be known");
    };
    assert_eq!(vm.as_deref(), Some("a"));
}

#[test]
fn an_entry_of_the_policy_that_looks_in_two_places_takes_one_vm_or_none() {
    let paths = ["args.target", "args.id"].map(|path| Path::parse(path).expect("a path"));
    let own = [MapEntry {
        vm: paths.to_vec(),
        ..entry("zap", Some(Effect::Stop))
    }];
    for (arguments, expected) in [
        (json!({"target": "a"}), Some("a")),
        (json!({"target": "7", "id": 7}), Some("7")),
        (json!({"target": "a", "id": null}), Some("a")),
        (json!({"target": "a", "id": "b"}), None),
        (json!({"target": "a", "id": ["b"]}), None),
        (json!({"target": "a", "Target": "b"}), None),
    ] {
        let found = mapped(&own, "zap", &arguments);
        assert_eq!(found.vm(), expected, "{arguments}");
    }
}

#[test]
fn the_effects_of_a_tool_are_all_that_any_arguments_could_have() {
    use Effect::{Delete, ForceStop, Pause, Reboot, Stop};

    assert_eq!(effects_of(&[], "vm_stop"), [Stop, ForceStop]);
    assert_eq!(effects_of(&[], "vm_lifecycle"), [Stop, Reboot, Pause]);
    assert_eq!(effects_of(&[], "vm_list"), []);
    let own = [entry("vm_list", Some(Delete))];
    assert_eq!(effects_of(&own, "vm_list"), [Delete]);
    for effect in Effect::ALL {
        assert!(effects_of(&[], effect.tool()).contains(&effect));
    }
}

#[test]
fn unknown_tools_are_suspect_by_their_words() {
    for tool in [
        "stop_server",
        "server-stop",
        "stopServer",
        "StopVM2",
        "stopvm",
        "vmkill",
        "os.server.halt",
        "proxmox_ha_migrate",
        "power_button",
        "pressPowerButton",
        "qmp_execute",
        "send_qmp",
        "monitor_command",
        "run_shell",
        "ssh_exec",
        "guest_run",
        "turn_off",
        "nova_shelve",
        "SUSPEND_ALL",
        "list_and_kill",
        "stop_list",
        "hypervisor_delete_get",
        "freezeGuest",
        "vm_down",
        "take_down",
        "bringDown",
        "decommission",
        "deprovision_vm",
        "reinstall_vm",
        "vm_move",
        "relocate_vms",
        "coredump",
        "dump_vm",
        "dumpvm",
        "nuke_vm",
        "bounce_vm",
        "recycleInstance",
    ] {
        let found = mapped(&[], tool, &json!({}));
        assert!(matches!(found, Mapped::Suspect { .. }), "{tool}");
    }
    for tool in [
        "list_stopped_vms",
        "get_reset_password",
        "libvirt_list_paused",
        "describe_power_states",
        "status_of_migrations",
        "create_issue",
        "use_skill",
        "send_email",
        "office_hours",
        "nonstop",
        "search",
        "resume_guest",
        "scroll_down",
        "move_file",
        "dump_table",
        "dump_vm_xml",
        "download_image",
        "nuke_create_node",
        "relocate_window",
        "get_vm_dump",
        "add",
        "",
    ] {
        let found = mapped(&[], tool, &json!({}));
        assert_eq!(found, Mapped::Harmless { vm: None }, "{tool}");
    }
}

#[test]
fn words_that_stop_only_a_vm_are_suspect_beside_one_and_what_fences_always() {
    let stops = "fence_node fenceVm stonith_fencing disable_vm disablevm end_vm vmEnd unplug \
                 cancel_vm eject_vm disable_autostart_and_eject_vm";
    for tool in stops.split(' ') {
        let found = mapped(&[], tool, &json!({}));
        assert!(matches!(found, Mapped::Suspect { .. }), "{tool}");
    }
    let others = "defence disable_alert disable_vm_autostart end_meeting send_vm_report \
                  cancel_order eject_cdrom_of_vm plug_in";
    for tool in others.split(' ') {
        let found = mapped(&[], tool, &json!({}));
        assert_eq!(found, Mapped::Harmless { vm: None }, "{tool}");
    }
}

#[test]
fn unknown_tools_are_suspect_by_their_arguments() {
    for (tool, arguments) in [
        ("manage_server", json!({"action": "os-stop"})),
        ("manage_server", json!({"Operation": "hardReboot"})),
        ("ha_resource", json!({"state": "stopped"})),
        ("ha_resource", json!({"params": {"desired_state": "off"}})),
        ("host", json!({"command": "uptime"})),
        ("host", json!({"argv": ["uptime"]})),
        ("list_hosts", json!({"command": "uptime"})),
        ("get_server", json!({"action": "kill"})),
        ("lamp", json!({"power": "off"})),
        ("lamp", json!({"power": false})),
        ("set_vm", json!({"running": false})),
        ("set_vm", json!({"params": {"Running": "False"}})),
        ("set_vm", json!({"powered": 0})),
        ("set_vm", json!({"powerState": "off"})),
        ("set_vm", json!({"state": "down"})),
        ("manage", json!({"op": "vm-move"})),
    ] {
        let found = mapped(&[], tool, &arguments);
        assert!(
            matches!(found, Mapped::Suspect { .. }),
            "{tool} {arguments}"
        );
    }
    for (tool, arguments) in [
        ("list_servers", json!({"state": "stopped"})),
        ("list_servers", json!({"running": false})),
        ("lamp", json!({"power": "on"})),
        ("lamp", json!({"power": 60})),
        ("set_vm", json!({"running": true, "powered": "powered"})),
        ("mouse", json!({"state": "down", "action": "move"})),
        ("manage_server", json!({"action": "start"})),
        ("note", json!({"text": "stop it", "command": null})),
    ] {
        let found = mapped(&[], tool, &arguments);
        assert_eq!(found, Mapped::Harmless { vm: None }, "{tool} {arguments}");
    }
}

#[test]
fn the_message_says_what_makes_a_tool_suspect() {
    let why = |tool, arguments| match mapped(&[], tool, &arguments) {
        Mapped::Suspect { why, vm } => (why, vm),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        why("haltServer", json!({"name": "a"})),
        (
            "its name has \"halt\" in it".to_owned(),
            Some("a".to_owned())
        )
    );
    assert_eq!(
        why("server", json!({"action": "power-cycle"})).0,
        "its argument \"action\" has \"power\" in it"
    );
    assert_eq!(
        why("list", json!({"cmd": "x"})).0,
        "its argument \"cmd\" could do anything"
    );
}
