//! The names of the files that the log is in: `audit.jsonl` is the one that is
//! written, `audit-000001.jsonl`, `audit-000002.jsonl` and so on are what it was.

/// The event of the record with which a file goes on where another ended.
pub const ROTATED: &str = "audit-rotated";
/// The event of the record that a file was removed: its `detail` ends in the hash
/// of the file's last record.
pub const REMOVED: &str = "audit-file-removed";

/// The name of the `number`th file that was put aside; `log` is the name of the
/// one that is written.
pub fn rotated_name(log: &str, number: u64) -> String {
    let (stem, extension) = parts(log);
    format!("{stem}-{number:06}{extension}")
}

/// The number in the name of a file that was put aside.
pub fn rotated_number(log: &str, name: &str) -> Option<u64> {
    let (stem, extension) = parts(log);
    let digits = name.strip_prefix(stem)?.strip_prefix('-')?;
    let digits = digits.strip_suffix(extension)?;
    let is_number = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The extension begins with its dot; it may be empty.
fn parts(log: &str) -> (&str, &str) {
    log.split_at(log.rfind('.').unwrap_or(log.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_number_that_it_was_made_with_and_others_have_none() {
        for number in [1, 999_999, 1_000_000, u64::MAX] {
            let name = rotated_name("audit.jsonl", number);
            assert_eq!(rotated_number("audit.jsonl", &name), Some(number), "{name}");
        }
        assert_eq!(rotated_name("audit.jsonl", 7), "audit-000007.jsonl");
        for other in [
            "audit.jsonl",
            "audit-7.jsonl",
            "audit-+00007.jsonl",
            "audit-000007.json",
            "audit.torn-17.jsonl",
            "other-000007.jsonl",
        ] {
            assert_eq!(rotated_number("audit.jsonl", other), None, "{other}");
        }
    }
}
