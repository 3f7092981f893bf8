//! Every input of the corpus, in the ordinary tests: what fuzzing once found
//! stays found.

use std::path::PathBuf;

fn feed(target: &str, check: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("the corpus can be listed").path();
        check(&std::fs::read(&path).expect("an input can be read"));
        inputs += 1;
    }
    assert!(inputs > 10, "{target} has only {inputs} inputs");
}

#[test]
fn frames() {
    feed("frame", vmward_fuzz::frame);
}

#[test]
fn policies() {
    feed("policy", vmward_fuzz::policy);
}

#[test]
fn predicates() {
    feed("predicate", vmward_fuzz::predicate);
}

#[test]
fn journals() {
    feed("journal", vmward_fuzz::journal);
}
