//! The walls, and the hook that tells the walls when a guest is over.

pub mod cgroup_files;
pub mod control_files;
pub mod kernel_files;
pub mod monitor;
pub mod rpc;
pub mod sched;
pub mod signals;
pub mod tampering;
