//! POLICY.md against the code: its examples are policies, its mistakes are
//! mistakes, what it says is printed is printed, and no key is missing.

use std::collections::BTreeSet;

use serde_json::Value;
use vmward_core::{
    effect::Effect,
    policy::{Policy, predicate::Op, schema},
};

const DOCUMENT: &str = include_str!("../POLICY.md");
const SEED: &str = include_str!("data/policy.json");
const FENCE: &str = "```";

/// A fenced block.
struct Block {
    /// What stands behind the fence, such as `json bad`.
    info: &'static str,
    text: String,
    /// Of its first line, from 1.
    line: usize,
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (index, line) in DOCUMENT.lines().enumerate() {
        match (is_open, line.strip_prefix(FENCE)) {
            (false, Some(info)) => {
                let (text, line) = (String::new(), index + 2);
                blocks.push(Block { info, text, line });
                is_open = true;
            }
            (true, Some(_)) => is_open = false,
            (true, None) => {
                let block = blocks.last_mut().expect("an open block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (false, None) => {}
        }
    }
    assert!(!is_open, "the last block is not closed");
    blocks
}

#[test]
fn every_example_is_read_or_refused_as_the_document_says() {
    let blocks = blocks();
    let (mut good, mut bad) = (0, 0);
    for (index, block) in blocks.iter().enumerate() {
        let line = block.line;
        let printed = blocks.get(index + 1).filter(|next| next.info == "text");
        let said = match (block.info, Policy::parse(&block.text, "policy.json")) {
            ("json", Ok(policy)) => {
                good += 1;
                let lints = policy.lints_text("policy.json");
                assert_eq!(lints, "", "the example at line {line}");
                continue;
            }
            ("json warns", Ok(policy)) => policy.lints_text("policy.json"),
            ("json bad", Err(errors)) => {
                bad += 1;
                errors.to_string()
            }
            ("json bad", Ok(_)) => panic!("line {line}: there is no mistake in it"),
            ("json" | "json warns", Err(errors)) => panic!("line {line}:\n{errors}"),
            _ => continue,
        };
        let printed = printed.map_or("", |next| next.text.trim_end());
        assert_eq!(printed, said, "what is printed for line {line}:\n{said}");
    }
    assert!(good >= 8 && bad >= 2, "{good} good, {bad} bad");
    assert_eq!(blocks[0].text, SEED, "the first example is the seed");
}

#[test]
fn every_key_and_word_of_the_language_is_in_the_document() {
    let mut words = BTreeSet::new();
    collect(&schema(), &mut words);
    words.extend(Effect::ALL.map(Effect::name).map(str::to_owned));
    words.extend(Op::ALL.map(Op::name).map(str::to_owned));
    assert!(words.contains("increment_from") && words.contains("session"));
    let has = |text: String| DOCUMENT.contains(&text);
    let is_missing = |word: &&String| !has(format!("`{word}`")) && !has(format!("`\"{word}\"`"));
    let missing: Vec<&String> = words.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "not in POLICY.md: {missing:?}");
}

/// Keys of objects and constant words, all the way down.
fn collect(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(keys)) = members.get("properties") {
                words.extend(keys.keys().cloned());
            }
            let constant = members.get("const").into_iter();
            let listed = members.get("enum").and_then(Value::as_array);
            let constants = constant.chain(listed.into_iter().flatten());
            words.extend(constants.filter_map(Value::as_str).map(str::to_owned));
            for value in members.values() {
                collect(value, words);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, words);
            }
        }
        _ => {}
    }
}
