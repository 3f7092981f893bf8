//! The MCP side: a server that stops VMs, and a proxy for anybody's server.
//!
//! Both ask the policy socket before anything happens (`gate`), and both tell
//! the agent in the tool's result why a call was refused (`answer`). `serve`
//! is the server; it reaches libvirt only through `virsh`, as any person would,
//! so that the kernel's rules hold for it too. `wrap` is the proxy.
#![forbid(unsafe_code)]

pub mod answer;
pub mod gate;
pub mod serve;
pub mod tools;
pub mod virsh;
pub mod wrap;
