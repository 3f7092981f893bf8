//! The walls, and the hook that tells the walls when a guest is over.

pub mod monitor;
pub mod rpc;
pub mod sched;
pub mod signals;
pub mod tampering;
