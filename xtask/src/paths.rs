//! Where things lie: the checkout, cargo's target folder, the cache.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The root of the checkout that this xtask was built from.
pub(crate) fn workspace() -> PathBuf {
    // Cargo sets the variable when it runs us; the compiled-in value serves a
    // direct call of the binary, as in the VM.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Cargo's target folder, as cargo itself would choose it.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// The folder that outlives `cargo clean` and fresh clones.
pub(crate) fn cache() -> Result<PathBuf> {
    let dir = if let Some(dir) = env::var_os("VMWARD_CACHE") {
        PathBuf::from(dir)
    } else if let Some(dir) = env::var_os("XDG_CACHE_HOME") {
        Path::new(&dir).join("vmward")
    } else {
        let home = env::var_os("HOME")
            .context("no cache folder: set HOME, XDG_CACHE_HOME or VMWARD_CACHE")?;
        Path::new(&home).join(".cache/vmward")
    };
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("Failed to create the cache folder {}", dir.display()))?;
    dir.canonicalize()
        .with_context(|| format!("Failed to resolve {}", dir.display()))
}
