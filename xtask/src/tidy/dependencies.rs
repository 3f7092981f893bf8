//! Which crate may depend on which: the direction that keeps the core pure.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Violation;
use crate::{paths, process};

/// Each crate with everything it may depend on, tests aside. A crate or a
/// dependency that is missing here is a decision that somebody has yet to make.
const ALLOWED: &[(&str, &[&str])] = &[
    ("vmward-abi", &["aya"]),
    (
        "vmward-core",
        &[
            "constant_time_eq",
            "crc32fast",
            "jsonschema",
            "regex",
            "regex-syntax",
            "ryu-js",
            "schemars",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
    ),
    (
        "vmward-wire",
        &["memchr", "serde", "serde_json", "thiserror"],
    ),
    (
        "vmward-mcp",
        &[
            "anyhow",
            "rmcp",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tracing",
            "vmward-wire",
        ],
    ),
    (
        "vmward",
        &[
            "anyhow",
            "clap",
            "getrandom",
            "jiff",
            "regex-syntax",
            "rustix",
            "saphyr-parser",
            "serde",
            "serde_json",
            "tokio",
            "toml",
            "tracing",
            "tracing-subscriber",
            "vmward-core",
            "vmward-mcp",
            "vmward-wire",
        ],
    ),
    (
        "vmwardd",
        &[
            "anyhow",
            "aya",
            "btf-rs",
            "clap",
            "crc32fast",
            "jiff",
            "landlock",
            "libc",
            "memmap2",
            "nix",
            "procfs",
            "roxmltree",
            "rustix",
            "sd-notify",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "toml",
            "tracing",
            "tracing-journald",
            "tracing-subscriber",
            "virt",
            "virt-sys",
            "vmward-abi",
            "vmward-core",
            "vmward-wire",
        ],
    ),
    (
        "xtask",
        &[
            "anyhow",
            "clap",
            "indicatif",
            "rustix",
            "serde",
            "serde_json",
        ],
    ),
    (
        "vmward-tests",
        &[
            "anyhow",
            "clap",
            "libc",
            "nix",
            "serde",
            "serde_json",
            "tempfile",
            "vmward-core",
            "vmward-wire",
        ],
    ),
    (
        "vmward-fuzz",
        &["libfuzzer-sys", "serde_json", "vmward-core", "vmward-wire"],
    ),
    ("vmward-probes", &["aya-ebpf", "vmward-abi"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

pub(super) fn check() -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for manifest in ["Cargo.toml", "ebpf/vmward-probes/Cargo.toml"] {
        let json = process::output(
            Command::new("cargo")
                .args([
                    "metadata",
                    "--no-deps",
                    "--format-version",
                    "1",
                    "--manifest-path",
                ])
                .arg(paths::workspace().join(manifest)),
        )?;
        let metadata: Metadata =
            serde_json::from_str(&json).context("cargo metadata printed something else")?;
        for package in &metadata.packages {
            check_package(package, &mut found)?;
        }
    }
    Ok(found)
}

fn check_package(package: &Package, found: &mut Vec<Violation>) -> Result<()> {
    let text = fs::read_to_string(&package.manifest_path)
        .with_context(|| format!("Failed to read {}", package.manifest_path))?;
    let file = Path::new(&package.manifest_path)
        .strip_prefix(paths::workspace())
        .map_or(package.manifest_path.clone(), |path| {
            path.display().to_string()
        });
    let allowed = ALLOWED
        .iter()
        .find(|(name, _)| *name == package.name)
        .map(|(_, list)| *list);
    let Some(allowed) = allowed else {
        let message = format!(
            "{} has no entry in xtask's table of dependencies",
            package.name
        );
        found.push(Violation {
            file,
            line: 1,
            message,
        });
        return Ok(());
    };
    // Tests may use what they like; build scripts run on the builder's machine and are bound too.
    let bound = package
        .dependencies
        .iter()
        .filter(|dep| dep.kind.as_deref() != Some("dev"));
    for dependency in bound.filter(|dep| !allowed.contains(&dep.name.as_str())) {
        let at = text
            .lines()
            .position(|line| line.starts_with(&dependency.name))
            .unwrap_or(0);
        let message = format!("{} may not depend on {}", package.name, dependency.name);
        found.push(Violation {
            file: file.clone(),
            line: at + 1,
            message,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ALLOWED;

    #[test]
    fn only_the_daemon_names_the_kernel_and_libvirt() {
        for (name, allowed) in ALLOWED {
            for crate_name in ["aya", "virt", "virt-sys", "zbus"] {
                // The ABI needs aya's marker trait for what crosses the kernel line.
                let exempt = *name == "vmwardd" || (*name, crate_name) == ("vmward-abi", "aya");
                assert!(
                    exempt || !allowed.contains(&crate_name),
                    "{name} names {crate_name}"
                );
            }
        }
    }

    #[test]
    fn the_pure_crates_touch_nothing_outside() {
        for (name, allowed) in ALLOWED {
            if ["vmward-core", "vmward-wire"].contains(name) {
                for outside in ["tokio", "nix", "libc", "procfs", "aya", "virt"] {
                    assert!(!allowed.contains(&outside), "{name} depends on {outside}");
                }
            }
        }
    }
}
