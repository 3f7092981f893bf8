//! Values that parse and still make no sense.

use std::path::Path;

use super::Config;

/// A value that makes no sense.
pub(super) struct Wrong {
    /// Its key, from the outermost table in.
    pub(super) key: &'static [&'static str],
    /// Which item of its list.
    pub(super) item: Option<usize>,
    /// What is wrong, and what to write instead.
    pub(super) what: String,
}

impl Wrong {
    pub(super) fn new(key: &'static [&'static str], what: impl Into<String>) -> Wrong {
        Wrong {
            key,
            item: None,
            what: what.into(),
        }
    }
}

/// Says which values are wrong and what to write instead.
pub(super) fn check(config: &Config) -> Vec<Wrong> {
    let paths: [(&'static [&'static str], &Path); 6] = [
        (&["policy"], &config.policy),
        (&["state-dir"], &config.state_dir),
        (&["log-dir"], &config.log_dir),
        (&["run-dir"], &config.run_dir),
        (&["pin-dir"], &config.pin_dir),
        (&["libvirt-run-dir"], &config.libvirt_run_dir),
    ];
    let mut all = Vec::new();
    for (key, path) in paths {
        if !path.is_absolute() {
            let what = format!(
                "{} must be an absolute path, not {}",
                key.concat(),
                path.display()
            );
            all.push(Wrong::new(key, what));
        }
    }
    if config.audit_file_mib == 0 {
        let what = "audit-file-mib must be at least 1; the usual value is 64";
        all.push(Wrong::new(&["audit-file-mib"], what));
    }
    all.extend(config.approvals.check());
    all.extend(config.arming.check());
    if config.libvirt_uri.is_empty() {
        let what = "libvirt-uri is empty; the usual value is \"qemu:///system\"";
        all.push(Wrong::new(&["libvirt-uri"], what));
    }
    if config.socket_group.is_empty() {
        let what = "socket-group is empty; the usual value is \"vmward\"";
        all.push(Wrong::new(&["socket-group"], what));
    }
    all
}
