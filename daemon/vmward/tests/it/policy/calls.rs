//! `vmward policy explain` and `test`: calls as a person writes them down.

use serde_json::{Value, json};

use super::{EXPLAIN, Folder, SEED, with};

#[test]
fn a_call_that_names_two_vms_is_refused_as_the_daemon_does() {
    let call = |vm: Value| {
        let call = json!({"tool": "vm_stop", "arguments": {"identifier": "a"}, "vm": vm});
        let steps = [json!({"call": call, "expect": "allow"})];
        json!({"policy": "policy.json", "cases": [{"name": "n", "steps": steps}]}).to_string()
    };
    let uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
    let files = [
        ("policy.json", with(&json!({"tools": {"vm_stop": {}}}))),
        ("two.json", call(json!("b"))),
        ("two-full.json", call(json!({"name": "b", "uuid": uuid}))),
        ("one.json", call(json!("a"))),
        ("one-full.json", call(json!({"name": "a", "uuid": uuid}))),
    ];
    let folder = Folder::with(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    let why = r#"`vm` is "b" and the arguments name "a": name one VM"#;
    for (status, cases) in [
        (1, "two.json"),
        (1, "two-full.json"),
        (0, "one.json"),
        (0, "one-full.json"),
    ] {
        let text = folder.policy(status, &["test", cases]);
        assert_eq!(text.contains(why), status == 1, "{cases}: {text}");
    }
    let of_a = ["--args", r#"{"identifier":"a"}"#, "--vm"];
    let explain = |status, vm| folder.policy(status, &[&EXPLAIN[..], &of_a, &[vm]].concat());
    let text = explain(1, "b");
    assert!(text.contains(why), "{text}");
    explain(0, "a");
}

#[test]
fn what_is_no_instant_is_wrong_usage() {
    let folder = Folder::with(&[("policy.json", SEED)]);
    let explain = [&EXPLAIN[..], &["--when", "yesterday"]].concat();
    for call in [
        &["simulate", "policy.json", "--since", "bogus"][..],
        &explain,
    ] {
        let text = folder.policy(2, call);
        assert!(
            text.contains("one looks like 2026-11-23T09:30:00Z"),
            "{text}"
        );
    }
}
