//! Values that parse and still make no sense.

use std::path::Path;

use super::Config;

/// Says which value is wrong and what to write instead.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let paths: [(&str, &Path); 6] = [
        ("policy", &config.policy),
        ("state-dir", &config.state_dir),
        ("log-dir", &config.log_dir),
        ("run-dir", &config.run_dir),
        ("pin-dir", &config.pin_dir),
        ("libvirt-run-dir", &config.libvirt_run_dir),
    ];
    for (key, path) in paths {
        if !path.is_absolute() {
            return Err(format!(
                "{key} must be an absolute path, not {}",
                path.display()
            ));
        }
    }
    if config.audit_file_mib == 0 {
        return Err("audit-file-mib must be at least 1; the usual value is 64".to_owned());
    }
    config.approvals.check()?;
    config.arming.check()?;
    if config.libvirt_uri.is_empty() {
        return Err("libvirt-uri is empty; the usual value is \"qemu:///system\"".to_owned());
    }
    if config.socket_group.is_empty() {
        return Err("socket-group is empty; the usual value is \"vmward\"".to_owned());
    }
    Ok(())
}
