//! Embeds the BPF object, so that the daemon is one file to install.
//!
//! `VMWARD_PROBES` names the object that `cargo xtask build` made. Without it
//! the daemon is built without kernel side: it then runs only with
//! `--policy-only` and says so. That is for tools that only want to check the
//! code; a release is made by `cargo xtask build`.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=VMWARD_PROBES");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("probes.o");
    let object = match env::var_os("VMWARD_PROBES") {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", PathBuf::from(&path).display());
            match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) => {
                    println!(
                        "cargo::error=VMWARD_PROBES={}: {e}",
                        PathBuf::from(path).display()
                    );
                    return;
                }
            }
        }
        None => Vec::new(),
    };
    fs::write(&out, object).expect("OUT_DIR is writable");
    println!("cargo::rustc-env=VMWARD_PROBES_EMBEDDED={}", out.display());
}
