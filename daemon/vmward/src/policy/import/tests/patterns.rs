//! A pattern that was carried over matches what Go's RE2 matches.

use vmward_core::policy::{
    facts::Facts,
    predicate::{Path, Predicate, Work},
};

use super::*;

fn condition(pattern: &str) -> String {
    format!(
        "      - name: n\n        conditions: [{{path: args.a, op: regex, value: '{pattern}'}}]\n"
    )
}

/// Asks the imported condition about each text.
#[track_caller]
fn check(pattern: &str, texts: &[(&str, bool)]) {
    let (rule, _) = rules(&condition(pattern));
    let path = Path::parse("args.a").expect("a path");
    let value = rule["require"][0].get("value");
    let predicate = Predicate::new(String::new(), path, "regex", value, None).expect("good");
    for (text, expected) in texts {
        let arguments = json!({ "a": text });
        let facts = Facts::of("t", arguments.as_object().expect("an object"));
        let found = predicate.holds(&facts, &Work::default());
        assert_eq!(found, Ok(*expected), "{pattern} {text:?}");
    }
}

#[test]
fn a_pattern_of_lines_matches_each_line_of_the_text() {
    check(
        "(?m)^b$",
        &[
            ("b", true),
            ("a\nb\nc", true),
            ("b\nc", true),
            ("ab\nc", false),
        ],
    );
}

/// In Rust they would have all of Unicode in them.
#[test]
fn the_classes_of_go_are_ascii() {
    for pattern in [r"^\d+$", r"^[\d]+$", r"^[^\D]+$", r"^web-\d+$|^\d+$"] {
        check(pattern, &[("17", true), ("1\u{663}", false), ("a", false)]);
    }
    for pattern in [r"^\D$", r"^[\D]$", r"^[^\d]$", r"^[x\D]$"] {
        check(pattern, &[("7", false), ("\u{663}", true), ("x", true)]);
    }
    for pattern in [r"^\w$", r"^[\w]$", r"^[-\w]$", r"^[^\W]$"] {
        check(
            pattern,
            &[("a", true), ("_", true), ("é", false), ("٣", false)],
        );
    }
    for pattern in [r"^\W$", r"^[\W]$", r"^[^\w]$"] {
        check(
            pattern,
            &[("a", false), ("_", false), ("é", true), (" ", true)],
        );
    }
    for pattern in [r"^a\sb$", r"^a[\s]b$", r"^a[^\S]b$", r"^a[x\s]b$"] {
        let others = [
            ("a\u{a0}b", false),
            ("a\u{2003}b", false),
            ("a\u{b}b", false),
        ];
        check(pattern, &others);
        check(pattern, &[("a b", true), ("a\tb", true), ("a\nb", true)]);
    }
    for pattern in [r"^a\Sb$", r"^a[\S]b$", r"^a[^\s]b$"] {
        check(
            pattern,
            &[("a b", false), ("a\u{a0}b", true), ("a\u{b}b", true)],
        );
    }
    let boundary = [("stop", true), ("éstop", true), ("astop", false)];
    check(r"\bstop\b", &boundary);
    let no_boundary = [("stop", false), ("éstop", false), ("astop", true)];
    check(r"\Bstop", &no_boundary);
    check("^[[:alpha:]]$", &[("a", true), ("é", false)]);
    check(r"^\pL$", &[("é", true), ("1", false)]);
    // Go folds them as well.
    check(r"^(?i)\w$", &[("\u{212a}", true), ("é", false)]);
}

#[test]
fn signs_that_only_one_of_both_gives_a_meaning_are_told() {
    check(r"^\<a\>$", &[("<a>", true), ("a", false)]);
    check("^[]a]$", &[("]", true), ("a", true), ("b", false)]);
    check(r"^[\[a]{1,2}$", &[("[a", true), ("b", false)]);
    for (pattern, part) in [
        ("^[a&&b]$", "a&&b"),
        ("^[a[b]]$", "[b]"),
        (r"\b{start}a", r"\\b{start}"),
        ("(?x)a b", "x"),
        ("(?x:a b)", "x"),
        ("(?u)a", "u"),
    ] {
        let yaml = format!(
            "version: '1'\ndefault: deny\ntools:\n  t:\n    rules:\n{}",
            condition(pattern)
        );
        assert_eq!(
            errors(&yaml),
            [format!(
                "line 7: cannot be carried over: \"{part}\" in a pattern means something else here"
            )],
            "{pattern}"
        );
    }
    // It is text in Go and at most three times in Rust.
    let yaml = format!(
        "version: '1'\ndefault: deny\ntools:\n  t:\n    rules:\n{}",
        condition("a{,3}")
    );
    assert!(!errors(&yaml).is_empty());
}
