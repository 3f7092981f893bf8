//! Why the kernel side does not work.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the kernel side does not work.
#[derive(Debug, Error)]
pub enum KernelError {
    /// This build holds no BPF object.
    #[error(
        "this vmwardd was built without its BPF object; build it with `cargo xtask build`, \
         or run with --policy-only"
    )]
    NoProbes,
    /// The kernel was started without BPF among its security modules.
    #[error(
        "BPF LSM is not active: {lsm_file} reads {active:?}; add `bpf` to the `lsm=` list of the \
         kernel command line"
    )]
    NoBpfLsm {
        /// Where the list stands.
        lsm_file: &'static str,
        /// What it says.
        active: String,
    },
    /// Seen from here, processes have other numbers than on the host.
    #[error(
        "this is not the host's PID namespace, in which VMs have the numbers that the kernel \
         decides by; start vmwardd on the host itself"
    )]
    NotHostPids,
    /// Somebody's filter stands between this process and the kernel.
    #[error(
        "a filter of system calls (seccomp) is on this process, which can answer in the kernel's \
         place, and its parent is not the host's service manager; start vmwardd from its unit, or \
         from a shell without such a filter"
    )]
    Filtered,
    /// The pin directory is not on a BPF file system.
    #[error("{path} is not on a BPF file system; mount one: mount -t bpf bpf /sys/fs/bpf")]
    NoBpfFs {
        /// The pin directory.
        path: PathBuf,
    },
    /// The pins' file system is mounted read-only, and cannot be mounted otherwise.
    #[error(
        "{path} is mounted read-only, and that cannot be changed from here; mount it anew where \
         vmwardd runs: mount -o remount,bind,rw {path}"
    )]
    ReadOnly {
        /// Where it is mounted.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel's own type information cannot be read.
    #[error("Failed to read the kernel's BTF from {path}")]
    Btf {
        /// Where it was looked for.
        path: &'static str,
        /// Why not.
        #[source]
        source: btf_rs::Error,
    },
    /// The kernel has no such field: nothing may be loaded with a guess.
    #[error("this kernel's BTF has no {what}; vmward does not support it yet")]
    MissingField {
        /// The field or enumerator.
        what: String,
    },
    /// Pins of another version are in the way.
    #[error(
        "{path} holds the pins of another vmward ({found}, this one has abi{own}); remove them with \
         `vmwardd --detach` (no VM is protected from then on), then start this one"
    )]
    ForeignAbi {
        /// The pin directory.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What this build uses.
        own: u32,
    },
    /// Another daemon has the kernel side, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] crate::lock::LockError),
    /// A file operation on the pins failed.
    #[error("Failed to {what} {path}")]
    Pin {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The object was refused.
    #[error("Failed to load the BPF object")]
    Load(#[source] Box<aya::EbpfError>),
    /// One program was refused.
    #[error("Failed to {what} the program {program}")]
    Program {
        /// What was tried.
        what: &'static str,
        /// Which program.
        program: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A map operation failed.
    #[error("Failed to {what} in the kernel map {map}")]
    Map {
        /// What was tried.
        what: &'static str,
        /// Which map.
        map: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// No thread for the files under guard.
    #[error("Failed to start the thread that keeps files under guard")]
    Keeper(#[source] io::Error),
    /// That thread hangs.
    #[error(
        "what is under guard has not been looked at for {seconds} s; files that are new are not \
         guarded"
    )]
    Unkept {
        /// So long ago was the last look.
        seconds: u64,
    },
    /// The canary could not be set up.
    #[error("Failed to {what} for the self-test")]
    Canary {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A hook did not do what it must on this kernel.
    #[error("the self-test failed on this kernel: {findings}")]
    SelfTest {
        /// Every finding, joined.
        findings: String,
    },
}
