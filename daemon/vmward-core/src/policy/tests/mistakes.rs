//! Each mistake in the language, word for word: what is marked, what is said,
//! what helps, and whether the published schema refuses it too.
//!
//! In the file, `# name | frame` begins a group; `§` in the frame stands for
//! what is written. Then each mistake: what is written, and below it, indented,
//! everything that is said of it.

use std::fmt::Write as _;

use super::*;

const MISTAKES: &str = include_str!("../../../tests/data/mistakes.txt");

#[test]
fn each_is_shown_in_its_place_word_for_word() {
    let mut frame = "";
    let mut checked = 0;
    for case in MISTAKES.split("\n\n") {
        if let Some(head) = case.trim().strip_prefix("# ") {
            frame = head.split_once(" | ").expect("a frame").1;
            continue;
        }
        let (written, expected) = case.trim().split_once('\n').expect("two lines");
        let text = frame.replacen('§', written, 1);
        let text = format!("{{\"version\":\"1\",\"default\":\"deny\",{text}}}");
        let found = said_of(&text);
        assert_eq!(found.trim_end(), expected, "{written}\n{found}");
        checked += 1;
    }
    assert!(checked > 130, "{checked}");
}

fn said_of(text: &str) -> String {
    let Err(errors) = Policy::parse(text, "p") else {
        panic!("no mistake in {text}");
    };
    let mut said = String::new();
    for error in errors.errors() {
        let carets = error.show("p").to_string().matches('^').count();
        let marked: String = text[error.offset..].chars().take(carets).collect();
        writeln!(said, "  at: {marked}").expect("a string");
        writeln!(said, "  says: {}", error.message).expect("a string");
        if let Some(help) = &error.help {
            writeln!(said, "  help: {help}").expect("a string");
        }
    }
    let refused = !schema::mistakes(text).is_empty();
    let schema = if refused { "refuses" } else { "accepts" };
    writeln!(said, "  schema: {schema}").expect("a string");
    said
}
