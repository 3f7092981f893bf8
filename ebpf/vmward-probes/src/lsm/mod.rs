//! The walls, and the hook that tells the walls when a guest is over.

mod arguments;
pub mod cgroup_files;
mod cgroup_limits;
mod commands;
mod config;
mod connect;
pub mod control_files;
pub mod exec;
pub mod foreign;
pub mod kernel_files;
pub mod libvirt;
pub mod monitor;
pub mod mounts;
pub mod netlink;
pub mod own;
pub mod rights;
mod room;
pub mod rpc;
pub mod sched;
pub mod signals;
mod storage;
pub mod tampering;
mod unix;
mod whole;

pub use room::{ROOMS_MAX, Room};
