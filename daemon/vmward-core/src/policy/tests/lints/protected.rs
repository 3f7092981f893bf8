//! Entries of `protected` that change nothing.

use super::*;

#[test]
fn what_a_protected_entry_denies_before_is_named() {
    let limited = r#""tools":{"vm_stop":{"rate_limit":{"max":1,"window":1}}}"#;
    let entries = |list: &str| lints("deny", &format!(r#"{limited},"protected":[{list}]"#));
    assert_eq!(
        entries(r#"{"name":"*"}"#),
        ["\"vm_stop\": no call of \"vm_stop\" is ever allowed: /protected/0 denies it"]
    );
    let twice = |first: &str, second: &str| entries(&format!("{first},{second}"));
    let uuid = r#""uuid":"6695eb01-f6a4-8304-79aa-97f2502e193f""#;
    for (outer, inner) in [
        (r#"{"name":"db-*"}"#, r#"{"name":"db-*"}"#),
        (r#"{"name":"db-*"}"#, r#"{"name":"db-7","effects":"stop"}"#),
        (
            r#"{"name":"db-*","effects":["stop","reset"]}"#,
            r#"{"name":"db-*","effects":["stop"],"action":"require_approval"}"#,
        ),
        (
            r#"{"metadata":{"tier":"prod"}}"#,
            r#"{"metadata":{"tier":"prod","team":"a"}}"#,
        ),
        (
            &format!("{{{uuid}}}"),
            &format!(r#"{{{uuid},"name":"web-1"}}"#),
        ),
    ] {
        let found = twice(outer, inner);
        let said = "/protected/1 changes nothing: /protected/0 denies all that it is about";
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(said), "{found:?}");
    }
    // One that asks for approval is in vain before a denial as well.
    let asks = r#"{"name":"db-1","action":"require_approval"}"#;
    let found = twice(asks, r#"{"name":"db-*"}"#);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("/protected/0 changes nothing"),
        "{found:?}"
    );
    for (one, other) in [
        (r#"{"name":"db-*"}"#, r#"{"name":"web-*"}"#),
        (r#"{"name":"db-7"}"#, r#"{"name":"db-*"}"#),
        (r#"{"name":"db-*","effects":"stop"}"#, r#"{"name":"db-7"}"#),
        (
            r#"{"name":"*","metadata":{"tier":"prod"}}"#,
            r#"{"name":"a"}"#,
        ),
        (r#"{"name":"db-?"}"#, r#"{"name":"db-*"}"#),
        (
            r#"{"name":"db-*","action":"require_approval"}"#,
            r#"{"name":"db-7","action":"require_approval"}"#,
        ),
    ] {
        assert_eq!(twice(one, other), [""; 0], "{one} {other}");
    }
    let some = r#"{"name":"*","effects":"stop"}"#;
    assert_eq!(entries(some), [""; 0], "it can still be forced off");
}

/// The lints of a policy whose `protected` has these entries.
fn of_entries(entries: &[String]) -> Vec<String> {
    let tools = r#""tools":{"vm_stop":{"rate_limit":{"max":1,"window":1}}}"#;
    lints(
        "deny",
        &format!(r#"{tools},"protected":[{}]"#, entries.join(",")),
    )
}

/// Each with each would be twelve million comparisons.
#[test]
fn thousands_of_entries_are_looked_up_and_not_compared_with_each_other() {
    let uuid = |n| format!(r#"{{"uuid":"6695eb01-f6a4-8304-79aa-{n:012}"}}"#);
    let name = |n| format!(r#"{{"name":"db-{n}"}}"#);
    let pattern = |n| format!(r#"{{"name":"db-{n}-*"}}"#);
    let label = |n| format!(r#"{{"metadata":{{"id":"{n}"}}}}"#);
    let kinds: [&dyn Fn(usize) -> String; 4] = [&uuid, &name, &pattern, &label];
    for entry in kinds {
        let mut entries: Vec<String> = (0..5_000).map(entry).collect();
        assert_eq!(of_entries(&entries), [""; 0]);
        entries.push(entry(17));
        let found = of_entries(&entries);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("/protected/5000 changes nothing: /protected/17 denies"),
            "{found:?}"
        );
    }
}

#[test]
fn where_there_are_too_many_to_compare_it_is_said_which_are_left_out() {
    let patterns = (0..1_100).map(|n| format!(r#"{{"name":"db-{n}-*"}}"#));
    let names = (0..1_100).map(|n| format!(r#"{{"name":"web-{n}"}}"#));
    let entries: Vec<String> = patterns.chain(names).collect();
    let found = of_entries(&entries);
    assert_eq!(found.len(), 1, "{found:?}");
    let said = "\"protected\" has so many entries that those from /protected/2009 on are not";
    assert!(found[0].contains(said), "{found:?}");
}
