//! The walls, and the hook that tells the walls when a guest is over.

pub mod exec;
pub mod foreign;
pub mod monitor;
pub mod mounts;
pub mod own;
pub mod reboot;
pub mod signals;
