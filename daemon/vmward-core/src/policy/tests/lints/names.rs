//! Names that do not mean what they seem to.

use super::*;

#[test]
fn what_looks_like_a_pattern_and_stands_for_itself_is_named() {
    let condition = |path: &str, op: &str, value: &str| {
        let condition = format!(r#"{{"path":"{path}","op":"{op}","value":{value}}}"#);
        lints(
            "deny",
            &format!(r#""tools":{{"t":{{"deny_if":[{condition}]}}}}"#),
        )
    };
    assert_eq!(
        condition("vm.name", "eq", r#""web-*""#),
        [r#""web-*": "eq" compares the whole of it: "web-*" stands for itself"#]
    );
    assert_eq!(
        condition("vm.labels.tier", "not_in", r#"["a","b?"]"#),
        [r#"["a","b?"]: "not_in" compares the whole of it: "b?" stands for itself"#]
    );
    assert_eq!(condition("vm.name", "regex", r#""web-.*""#), [""; 0]);
    assert_eq!(condition("args.files", "eq", r#""*.img""#), [""; 0]);
    assert_eq!(
        lints("deny", r#""protected":[{"metadata":{"tier":"prod*"}}]"#),
        [r#""prod*": a label is compared as a whole: "prod*" stands for itself"#]
    );
    assert_eq!(
        lints(
            "deny",
            r#""host_rules":{"a":{"exe":"/opt/*/fenced","effects":"stop"}}"#
        ),
        [r#""/opt/*/fenced": "exe" is one path: "/opt/*/fenced" stands for itself"#]
    );
    assert_eq!(lints("deny", r#""protected":[{"name":"db-*"}]"#), [""; 0]);
}

#[test]
fn an_entry_that_takes_back_what_the_built_in_map_knows_is_named() {
    let entry = |entry: &str| lints("deny", &format!(r#""effect_map":[{entry}]"#));
    let stop = r#"{"tool":"vm_stop","effect":"none"}"#;
    assert_eq!(
        entry(stop),
        [format!(
            "{stop}: \"vm_stop\" can stop or force_stop VMs, and here it is said to stop nothing"
        )]
    );
    let exec = r#"{"tool":"guest_exec","server":"s","effect":"none"}"#;
    let found = entry(exec);
    assert_eq!(found.len(), 1, "{found:?}");
    let says =
        format!("{exec}: \"guest_exec\" could do anything, and here it is said to stop nothing");
    assert_eq!(found, [says]);
    for sure in [
        r#"{"tool":"vm_list","effect":"none"}"#,
        r#"{"tool":"our_tool","effect":"none"}"#,
        r#"{"tool":"vm_stop","effect":"force_stop"}"#,
        r#"{"tool":"vm_stop","when":[{"path":"args.dry","op":"eq","value":true}],"effect":"none"}"#,
    ] {
        assert_eq!(entry(sure), [""; 0], "{sure}");
    }
}

#[test]
fn a_pattern_too_large_for_an_ordinary_text_is_named() {
    let of = |pattern: &str| {
        let condition = format!(r#"{{"path":"args.note","op":"regex","value":"{pattern}"}}"#);
        lints(
            "deny",
            &format!(r#""tools":{{"t":{{"deny_if":[{condition}]}}}}"#),
        )
    };
    assert_eq!(
        of("(a{100}){30}"),
        [
            r#""(a{100}){30}": the pattern is so large that a call with more than 488 bytes there is denied without trying it"#
        ]
    );
    assert_eq!(of("[a-z]{1,1000}"), [""; 0]);
}

#[test]
fn a_host_rule_that_is_nearly_a_built_in_one_is_named() {
    let own = r#"{"uid":1,"effects":"stop"}"#;
    let said = r#""libvirt_guests": the host rule "libvirt_guests" is one of its own, and the built-in "libvirt-guests" stays as it is"#;
    let of = |rules: &str| lints("deny", &format!(r#""host_rules":{{{rules}}}"#));
    assert_eq!(of(&format!(r#""libvirt_guests":{own}"#)), [said]);
    for meant in [
        format!(r#""backup":{own}"#),
        format!(r#""libvirt_guests":{own},"libvirt-guests":{{"enabled":false}}"#),
    ] {
        assert_eq!(of(&meant), [""; 0], "{meant}");
    }
}
