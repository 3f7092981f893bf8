use super::check;

#[track_caller]
fn finds(file: &str, text: &str, expected: &[&str]) {
    let mut found = Vec::new();
    check(file, text, &mut found);
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.contains(expected),
            "{found} does not contain {expected}"
        );
    }
}

#[test]
fn a_clean_file_passes() {
    finds("x.rs", "//! Doc.\n\nfn f() {\n    g();\n}\n", &[]);
}

#[test]
fn long_functions_and_files_are_found_where_they_are() {
    let function = format!(
        "//! Doc.\n    fn f() {{\n{}    }}\n",
        "        g();\n".repeat(71)
    );
    finds("x.rs", &function, &["x.rs:2: 71 lines"]);
    finds(
        "x.rs",
        &format!("//! Doc.\n{}", "\n".repeat(400)),
        &["x.rs:401: 401 lines"],
    );
}

#[test]
fn unsafe_needs_its_reason_right_above() {
    let good = "//! Doc.\n// SAFETY: checked above.\nlet x =\n    unsafe { f() };\n";
    finds("x.rs", good, &[]);
    let far = "//! Doc.\n// SAFETY: of another.\ng();\nlet x = unsafe { f() };\n";
    finds("x.rs", far, &["x.rs:4: unsafe without"]);
}

#[test]
fn paths_and_hosts_of_a_machine_are_found_in_any_file() {
    let text = format!("see {}main\n", concat!("/wo", "rk/"));
    finds("README.md", &text, &["README.md:1: /"]);
    let host = ["deb http:/", "/deb.example.org/debian x\n"].concat();
    finds("x.sh", &host, &["x.sh:1: names a host"]);
}

#[test]
fn hooks_name_the_function_they_stand_in() {
    let hook = "//! Doc.\n/// match-proto: a\n#[lsm(hook = \"a\")]\n#[lsm(hook = \"b\")]\n";
    finds(
        "ebpf/vmward-probes/src/lsm/a.rs",
        hook,
        &["a.rs:4: a hook has"],
    );
}

#[test]
fn lints_are_expected_and_not_allowed() {
    finds(
        "x.rs",
        "//! Doc.\n#[allow(dead_code)]\n",
        &["x.rs:2: allow hides"],
    );
}
