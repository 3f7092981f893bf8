//! What was set on a process before it came under protection, and ends it without
//! anybody's doing: later no wall can refuse it.

use procfs::process::LimitValue;
use vmward_core::ids::Process;

use super::ProcHandle;

/// What of it a process has, in words; `None` where it has nothing, or cannot be read.
pub fn armed(process: Process) -> Option<String> {
    let handle = ProcHandle::open(process.pid)?;
    if handle.stat()?.process != process {
        return None;
    }
    let limits = handle.process.limits().ok()?;
    let adjusted = handle.read_small("oom_score_adj");
    told(
        limits.max_cpu_time.soft_limit,
        limits.max_file_size.soft_limit,
        adjusted.and_then(|text| text.trim().parse().ok()),
    )
}

fn told(cpu: LimitValue, file: LimitValue, oom_score_adj: Option<i32>) -> Option<String> {
    let mut all = Vec::new();
    if let LimitValue::Value(seconds) = cpu {
        all.push(format!(
            "its limit of processor time (RLIMIT_CPU) is {seconds} s, at which the kernel ends it"
        ));
    }
    if let LimitValue::Value(bytes) = file {
        all.push(format!(
            "its limit of a file's size (RLIMIT_FSIZE) is {bytes} bytes, beyond which the kernel signals it"
        ));
    }
    if let Some(adjusted) = oom_score_adj.filter(|adjusted| *adjusted > 0) {
        all.push(format!(
            "its oom_score_adj is {adjusted}: it is ended before others when memory runs out"
        ));
    }
    (!all.is_empty()).then(|| format!("{}; set before it was protected", all.join("; ")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::identify;
    use crate::process::testing::{end, prepared};

    #[test]
    fn limits_that_end_a_process_and_a_raised_score_are_told() {
        let script = "ulimit -S -t 100; echo 500 > /proc/self/oom_score_adj; echo; exec cat";
        let child = prepared(Command::new("sh").args(["-c", script]));
        let process = identify(child.id()).unwrap();
        let why = armed(process).unwrap();
        assert!(why.contains("RLIMIT_CPU) is 100 s"), "{why}");
        assert!(why.contains("oom_score_adj is 500"), "{why}");
        assert!(!why.contains("RLIMIT_FSIZE"), "{why}");
        end(child);
        assert_eq!(armed(process), None);
    }

    #[test]
    fn a_process_as_libvirt_starts_it_has_none_of_it() {
        let none = LimitValue::Unlimited;
        for adjusted in [None, Some(0), Some(-900)] {
            assert_eq!(told(none, none, adjusted), None);
        }
        let why = told(none, LimitValue::Value(4096), None).unwrap();
        assert!(why.starts_with("its limit of a file's size (RLIMIT_FSIZE) is 4096 bytes"));
    }
}
