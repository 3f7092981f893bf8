//! What the numbers were taken on.

use std::{fs, path::Path, thread};

use anyhow::Result;
use serde::Serialize;

/// A number means nothing without these.
#[derive(Serialize)]
pub(super) struct Machine {
    kernel: String,
    cpu: String,
    cores: usize,
    file_system: String,
    /// Load of the last minute before the run: other work makes the numbers worse.
    load: String,
}

impl Machine {
    /// This machine, with the file system that holds `dir`.
    pub(super) fn look(dir: &Path) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned());
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu,
            cores: thread::available_parallelism()?.get(),
            file_system: file_system(&read("/proc/self/mounts"), &dir.canonicalize()?),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
    }

    pub(super) fn text(&self) -> String {
        format!(
            "kernel {}, {} x {}, state on {}, load before the run {}",
            self.kernel, self.cores, self.cpu, self.file_system, self.load
        )
    }
}

/// The type of the mount that `dir` lies on: the longest mount point wins, of
/// two on one point the later.
fn file_system(mounts: &str, dir: &Path) -> String {
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(point), Some(kind)) = (fields.next(), fields.next())
            && dir.starts_with(point)
            && point.len() >= best.0
        {
            best = (point.len(), kind);
        }
    }
    best.1.to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::file_system;

    #[test]
    fn the_longest_mount_point_names_the_file_system() {
        let mounts = "a / ext4 rw 0 0\nb /tmp tmpfs rw 0 0\nc /tm xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/tmpx")), "ext4");
    }
}
