//! What YAML itself allows and the import does not.

use super::*;

#[test]
fn values_keep_their_kind() {
    for (yaml, expected) in [
        ("5", json!(5)),
        ("-5", json!(-5)),
        ("+5", json!(5)),
        ("0", json!(0)),
        ("0.5", json!(0.5)),
        ("1e3", json!(1000.0)),
        ("18446744073709551615", json!(u64::MAX)),
        ("'5'", json!("5")),
        ("!!str 5", json!("5")),
        ("true", json!(true)),
        ("yes", json!("yes")),
        ("~", json!(null)),
        ("2026-01-01", json!("2026-01-01")),
        ("10/minute", json!("10/minute")),
        ("infra", json!("infra")),
    ] {
        let (rule, _) = rules(&format!(
            "      - name: n\n        conditions:\n          - path: args.a\n            op: eq\n            \
             value: {yaml}\n"
        ));
        assert_eq!(rule["require"][0]["value"], expected, "{yaml}");
    }
    for yaml in ["010", "0x1F", "0o17", "1_000", ".inf", "-.NaN"] {
        let found = errors(&format!(
            "version: 1\ntools: {{t: {{rules: [{{name: n, conditions: [{{path: args.a, op: eq, \
             value: {yaml}}}]}}]}}}}"
        ));
        assert!(found[0].contains("read differently"), "{yaml}: {found:?}");
    }
}

#[test]
fn yaml_that_plays_tricks_is_refused() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='j').zip('a'..='i') {
        let aliases = vec![format!("*{before}"); 10].join(", ");
        bomb.push_str(&[&format!("{name}: &{name} ["), aliases.as_str(), "]\n"].concat());
    }
    let deep = format!("version: {}1{}", "[".repeat(50), "]".repeat(50));
    let huge = " ".repeat(YAML_BYTES_MAX + 1);
    for (yaml, expected) in [
        (
            bomb.as_str(),
            "more than 100000 values, aliases written out",
        ),
        (&deep, "nested deeper than 32 levels"),
        (&huge, "the file has 1048577 bytes"),
        (
            "version: 1\nversion: 1\n",
            "line 2: the key \"version\" is there twice; first in line 1",
        ),
        (
            "version: 1\n---\nversion: 1\n",
            "line 2: a policy is one YAML document",
        ),
        ("", "the file has nothing in it"),
        ("- version", "the policy must have keys and values"),
        ("[a]: 1", "a key must be a word"),
        (
            "version: !!int 1",
            "the tag tag:yaml.org,2002:int is not known",
        ),
        ("version: &a [*a]", "an alias stands inside itself"),
        ("version: 'x", "line 1: "),
    ] {
        let found = errors(yaml);
        assert!(found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn an_alias_is_what_it_stands_for() {
    let (rule, _) = rules(
        "      - &limit {name: n, rate_limit: 5/day}\n      - name: m\n        \
         conditions: [{path: args.a, op: in, value: &list [a]}, {path: args.b, op: in, value: *list}]\n",
    );
    assert_eq!(rule["require"][1]["value"], json!(["a"]));
}

#[test]
fn a_text_that_is_cut_off_anywhere_is_read_or_refused() {
    for end in 0..STRIPE.len() {
        if let Ok(imported) = import(&STRIPE[..end]) {
            serde_json::from_str::<Value>(&imported.policy).expect("JSON");
        }
    }
}
