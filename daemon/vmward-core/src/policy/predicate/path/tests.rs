//! Both spellings of a path, what each root finds, and what is refused.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::{
    effect::Effect,
    policy::facts::{CallerFacts, VmFacts},
};

/// What a path finds in one call; a `bare` one lacks all that may be absent.
fn find(path: &str, bare: bool) -> Option<Value> {
    let arguments = json!({
        "force": true,
        "a.b": [{"c/d": 1, "~": 2}, "second"],
        "": "empty",
        "deep": {"0": "zero", "none": null},
    });
    let labels = BTreeMap::from([
        ("tier".to_owned(), "prod".to_owned()),
        ("example.org/x".to_owned(), "y".to_owned()),
    ]);
    let vm = VmFacts {
        uuid: (!bare).then_some("6695eb01-f6a4-8304-79aa-97f2502e193f"),
        name: "db-1",
        labels: &labels,
    };
    let some = |text: &'static str| (!bare).then_some(text);
    let facts = Facts {
        tool: "vm_stop",
        server: some("libvirt-mcp"),
        effect: (!bare).then_some(Effect::ForceStop),
        arguments: arguments.as_object().expect("an object"),
        // Where the VM's name is asked for, a bare call has no VM at all.
        vm: (!bare || path != "vm.name").then_some(vm),
        caller: CallerFacts {
            grant: "uid:1000",
            uid: 1000,
            unit: some("agent.service"),
            exe: some("/usr/bin/agent"),
            agent: some("claude"),
        },
    };
    let found = Path::parse(path).expect("a path").find(&facts);
    found.map(Cow::into_owned)
}

#[test]
fn both_spellings_reach_into_arguments() {
    for (path, expected) in [
        ("args.force", Some(json!(true))),
        ("/args/force", Some(json!(true))),
        ("/args/a.b/0/c~1d", Some(json!(1))),
        ("/args/a.b/0/~0", Some(json!(2))),
        ("/args/a.b/1", Some(json!("second"))),
        ("/args/", Some(json!("empty"))),
        ("args.deep.0", Some(json!("zero"))),
        ("args.deep.none", Some(json!(null))),
        ("args.a.b", None),
        ("args.deep.none.more", None),
        ("args.force.more", None),
        ("/args/a.b/2", None),
        ("/args/a.b/00", None),
        ("/args/a.b/01", None),
        ("/args/a.b/+1", None),
        ("/args/a.b/-", None),
        ("/args/a.b/99999999999999999999999", None),
        ("args.Force", None),
    ] {
        assert_eq!(find(path, false), expected, "{path}");
    }
}

#[test]
fn every_other_root_finds_what_it_names() {
    for (path, expected) in [
        ("vm.name", json!("db-1")),
        ("vm.uuid", json!("6695eb01-f6a4-8304-79aa-97f2502e193f")),
        ("vm.labels.tier", json!("prod")),
        ("/vm/labels/example.org~1x", json!("y")),
        ("caller.grant", json!("uid:1000")),
        ("caller.uid", json!(1000)),
        ("caller.unit", json!("agent.service")),
        ("caller.exe", json!("/usr/bin/agent")),
        ("/caller/agent", json!("claude")),
        ("tool", json!("vm_stop")),
        ("/server", json!("libvirt-mcp")),
        ("effect", json!("force_stop")),
    ] {
        assert_eq!(find(path, false), Some(expected), "{path}");
    }
    for path in [
        "vm.name",
        "vm.uuid",
        "vm.labels.owner",
        "caller.unit",
        "caller.exe",
        "caller.agent",
        "server",
        "effect",
    ] {
        assert_eq!(find(path, true), None, "{path}");
    }
}

#[test]
fn a_path_that_leads_nowhere_is_refused_with_the_way_out() {
    for (path, message) in [
        (
            "",
            "the path \"\" has an empty name in it; write a name with a dot as in \"/args/a.b\"",
        ),
        (
            "args..b",
            "the path \"args..b\" has an empty name in it; write a name with a dot as in \"/args/a.b\"",
        ),
        ("args", "name the argument, as in \"args.force\""),
        ("/args", "name the argument, as in \"args.force\""),
        ("arg.force", "a call has no \"arg\"; did you mean \"args\"?"),
        (
            "$.x",
            "a call has no \"$\"; it has args, vm, caller, tool, server, effect",
        ),
        ("vm", "\"vm\" needs one of name, uuid, labels"),
        ("vm.nme", "\"vm\" has no \"nme\"; did you mean \"name\"?"),
        ("vm.labels", "name the label, as in \"vm.labels.tier\""),
        (
            "vm.labels.a.b",
            "labels hold plain text; write a label with a dot as in \"/vm/labels/a.b\"",
        ),
        (
            "caller",
            "\"caller\" needs one of grant, uid, unit, exe, agent",
        ),
        (
            "caller.pid",
            "\"caller\" has no \"pid\"; did you mean \"uid\"?",
        ),
        (
            "tool.name",
            "there is nothing inside it: only arguments have parts",
        ),
        (
            "vm.name.x",
            "there is nothing inside it: only arguments have parts",
        ),
        (
            "/args/a~b",
            "in the path's step \"a~b\", \"~\" must be written \"~0\" and \"/\" be written \"~1\"",
        ),
    ] {
        assert_eq!(Path::parse(path).expect_err(path), message, "{path}");
    }
    assert!(Path::parse("/args/a~~01").is_err());
    let long = format!("args.{}", "a".repeat(PATH_BYTES_MAX));
    assert!(Path::parse(&long).is_err());
}

#[test]
fn a_path_keeps_its_text() {
    let path = Path::parse("/args/a~1b").expect("a path");
    assert_eq!(path.text(), "/args/a~1b");
}
