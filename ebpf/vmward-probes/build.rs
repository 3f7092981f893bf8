//! Has the linker write the programs' types: with them, the kernel verifies each
//! exported function by itself.

fn main() {
    println!("cargo::rustc-link-arg-bins=--btf");
    println!("cargo::rerun-if-changed=build.rs");
}
