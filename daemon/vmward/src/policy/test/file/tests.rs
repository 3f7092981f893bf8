use super::*;

#[track_caller]
fn why(cases: &str) -> String {
    File::read(cases).expect_err("a mistake")
}

fn step(step: &str) -> String {
    format!(r#"{{"cases":[{{"name":"n","steps":[{step}]}}]}}"#)
}

#[test]
fn a_mistake_is_told_in_the_words_of_the_file() {
    for (text, expected) in [
        (
            "[]".to_owned(),
            "found a list of length 0, expected an object with `cases`",
        ),
        ("{}".to_owned(), "missing key `cases`"),
        (
            r#"{"cases":[{"name":"n"}]}"#.to_owned(),
            "missing key `steps`",
        ),
        (
            step(r#"{"call":{"tool":"a"},"repeat":99999999}"#),
            "`repeat` is at most 10000, found 99999999",
        ),
        (
            step(r#"{"expect":"alow"}"#),
            r#"`expect` is "allow", "deny" or "pending", found "alow""#,
        ),
        (
            step(r#"{"expect":7}"#),
            r#"found integer `7`, expected "allow", "deny" or "pending", or an object with `decision` and what else matters"#,
        ),
        (
            step(r#"{"expect":{"reason":"hidden"}}"#),
            "unknown key `reason`, expected one of `decision`, `reason_code`, `rule`, `shadow`",
        ),
        (
            step(r#"{"expect":{"decision":"deny","reason_code":"hiden"}}"#),
            "unknown word `hiden`, expected one of ",
        ),
        (
            step(r#"{"approve":"maybe"}"#),
            "unknown word `maybe`, expected `yes` or `no`",
        ),
        (
            step(r#"{"call":{"vm":7}}"#),
            "found integer `7`, expected the VM's name, or an object with `name`",
        ),
        (
            step(r#"{"call":{"vm":{"name":"a","label":{}}}}"#),
            "unknown key `label`, expected one of `name`, `uuid`, `labels`, `running`",
        ),
        (
            step(r#"{"call":"vm_stop"}"#),
            "found string \"vm_stop\", expected a call: an object with `tool` or `effect`",
        ),
        (
            step(r#"{"call":{"who":{"user":"a"}}}"#),
            "unknown key `user`, expected one of `grant`, `uid`, `unit`, `exe`, `agent`, `pid`",
        ),
    ] {
        let told = why(&text);
        assert!(told.starts_with(expected), "{text}\n{told}");
        assert!(told.contains(" at line 1 column "), "{told}");
        for word in ["variant", "field", "struct", "enum"] {
            assert!(!told.contains(word), "{told}");
        }
    }
}

#[test]
fn what_a_decision_of_a_person_cannot_have_is_a_mistake_in_its_place() {
    for (key, value) in [("expect", "\"allow\""), ("repeat", "1")] {
        let text = format!(
            "{{\"cases\":[{{\"name\":\"n\",\"steps\":[\n  {{\"call\":{{\"tool\":\"a\"}}}},\n  \
             {{\"approve\":\"yes\",\"{key}\":{value}}}]}}]}}"
        );
        let told = why(&text);
        let expected = format!(
            "`{key}` beside `approve`: it is about a call, and stands beside `call` at line 3 column "
        );
        assert!(told.starts_with(&expected), "{told}");
    }
}

/// The keys that are known where `at` stands in the file.
fn known(at: &str) -> Vec<String> {
    let told = why(at);
    let (_, keys) = told.split_once("expected ").expect("the keys");
    let keys = keys.split('`').skip(1).step_by(2).map(str::to_owned);
    keys.collect()
}

#[test]
fn the_document_has_every_key() {
    let document = include_str!("../../../../../vmward-core/POLICY.md");
    let (_, section) = document.split_once("\n## Cases\n").expect("the section");
    let section = section.split("\n## ").next().expect("some text");
    for at in [
        r#"{"?":1}"#.to_owned(),
        r#"{"cases":[{"?":1}]}"#.to_owned(),
        step(r#"{"?":1}"#),
        step(r#"{"expect":{"?":1}}"#),
        step(r#"{"call":{"?":1}}"#),
        step(r#"{"call":{"who":{"?":1}}}"#),
        step(r#"{"call":{"vm":{"?":1}}}"#),
    ] {
        let keys = known(&at);
        assert!(keys.len() > 1, "{at}: {keys:?}");
        for key in keys {
            let spellings = [
                format!("`{key}`"),
                format!("`vm.{key}`"),
                format!("`who.{key}`"),
            ];
            assert!(
                spellings.iter().any(|one| section.contains(one)),
                "{key} of {at}"
            );
        }
    }
}
