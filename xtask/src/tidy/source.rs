//! Rules about the text of single files. The scanners read line by line and
//! rely on rustfmt's layout, which is checked before them.

use super::Violation;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Crates in which unsafe code is forbidden, by the root file that must say so.
const SAFE_ROOTS: &[&str] = &[
    "daemon/vmward-core/src/lib.rs",
    "daemon/vmward-wire/src/lib.rs",
    "daemon/vmward-mcp/src/lib.rs",
    "daemon/vmward/src/main.rs",
];

/// Folders of which somebody's machine is made. Split, so as not to name themselves.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/."),
    concat!("/tmp/", "target-"),
];

/// Notes a broken rule of one file.
struct Report<'a> {
    file: &'a str,
    found: &'a mut Vec<Violation>,
}

impl Report<'_> {
    /// `index` counts lines from zero.
    fn add(&mut self, index: usize, message: impl Into<String>) {
        let (file, line) = (self.file.to_owned(), index + 1);
        self.found.push(Violation {
            file,
            line,
            message: message.into(),
        });
    }
}

pub(super) fn check(file: &str, text: &str, found: &mut Vec<Violation>) {
    let lines: Vec<&str> = text.lines().collect();
    let mut report = Report { file, found };
    machines(&lines, &mut report);
    if std::path::Path::new(file)
        .extension()
        .is_none_or(|ext| ext != "rs")
    {
        return;
    }
    if lines.len() > FILE_LINES_MAX {
        let message = format!("{} lines; a file has at most {FILE_LINES_MAX}", lines.len());
        report.add(FILE_LINES_MAX, message);
    }
    if SAFE_ROOTS.contains(&file) && !lines.contains(&"#![forbid(unsafe_code)]") {
        report.add(0, "this crate must say #![forbid(unsafe_code)]");
    }
    let test_file = file.ends_with("/tests.rs") || file.starts_with("tests/");
    if !test_file && !lines.first().is_some_and(|line| line.starts_with("//!")) {
        report.add(0, "a file opens with its module doc");
    }
    functions(&lines, &mut report);
    unsafe_blocks(&lines, &mut report);
    bare_allows(&lines, &mut report);
    hooks(&lines, &mut report);
}

fn machines(lines: &[&str], report: &mut Report<'_>) {
    for (index, line) in lines.iter().enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(*path)) {
            report.add(index, format!("{path} is a path of one machine"));
        }
        if names_a_mirror(line) {
            report.add(index, "names a host of packages; machines know their own");
        }
    }
}

/// A URL of a Debian archive on a real host; test data has hosts without a dot.
fn names_a_mirror(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        host.contains('.') && !host.contains(' ') && path.starts_with("debian")
    })
}

/// A function ends at the brace that stands as far in as its first line.
fn functions(lines: &[&str], report: &mut Report<'_>) {
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if !is_function(code) || code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let body = lines.iter().skip(index + 1);
        let inside =
            body.take_while(|other| !(other.len() == indent + 1 && other.trim_start() == "}"));
        // As clippy counts, which does not see the BPF programs: comments are free.
        let counts = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let length = inside.filter(counts).count();
        if length > FUNCTION_LINES_MAX {
            let message = format!("{length} lines; a function has at most {FUNCTION_LINES_MAX}");
            report.add(index, message);
        }
    }
}

fn is_function(code: &str) -> bool {
    let Some((before, _)) = code.split_once("fn ") else {
        return false;
    };
    before.split_whitespace().all(|word| {
        ["pub", "async", "const", "unsafe", "extern", "\"C\""].contains(&word)
            || word.starts_with("pub(")
            || word == "super)"
    })
}

fn unsafe_blocks(lines: &[&str], report: &mut Report<'_>) {
    for (index, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if !(code.contains("unsafe {") || code.contains("unsafe impl")) || code.contains('"') {
            continue;
        }
        if !line.contains("SAFETY:") && !explained(lines, index) {
            report.add(index, "unsafe without a SAFETY comment above it");
        }
    }
}

/// Whether the comment above the statement that holds line `index` says SAFETY.
fn explained(lines: &[&str], index: usize) -> bool {
    let above = lines.get(..index).unwrap_or_default();
    let mut in_comment = false;
    for line in above.iter().rev().map(|line| line.trim()) {
        let comment = line.starts_with("//");
        if comment && line.contains("SAFETY:") {
            return true;
        }
        // Above the comment, or in another statement: there is nothing more to find.
        if !comment && (in_comment || line.ends_with([';', '}', '{'])) {
            return false;
        }
        in_comment = comment;
    }
    false
}

fn bare_allows(lines: &[&str], report: &mut Report<'_>) {
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if code.starts_with("#[allow(") || code.starts_with("#![allow(") {
            report.add(
                index,
                "allow hides a lint for good; use expect, with the reason",
            );
        }
    }
}

/// Each hook names the kernel function it stands in, for the check against its sources.
fn hooks(lines: &[&str], report: &mut Report<'_>) {
    if !report.file.starts_with("ebpf/vmward-probes/src/") {
        return;
    }
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let hook = ["#[lsm", "#[btf_tracepoint", "#[fentry", "#[fexit"]
            .iter()
            .any(|attribute| code.starts_with(attribute));
        if !hook {
            continue;
        }
        let documented = lines
            .get(..index)
            .unwrap_or_default()
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with("//"))
            .any(|line| line.contains("match-proto:"));
        if !documented {
            report.add(index, "a hook has a `match-proto:` line in its doc comment");
        }
    }
}

#[cfg(test)]
mod tests;
