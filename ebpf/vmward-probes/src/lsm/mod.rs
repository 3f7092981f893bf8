//! The walls, and the hook that tells the walls when a guest is over.

mod commands;
mod connect;
mod libvirt;
pub mod monitor;
pub mod rpc;
pub mod signals;
mod unix;

pub use unix::HEAD_LEN;
