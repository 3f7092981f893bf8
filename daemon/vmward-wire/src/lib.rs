//! The policy socket: JSON-RPC 2.0, one JSON object a line, over a Unix socket.
//!
//! Shared by the daemon, the command line, the MCP side and the tests, so that
//! none of them can disagree about a field. `v1` is the protocol; `frame` turns
//! bytes into messages without IO; `client` is a small blocking client.
#![forbid(unsafe_code)]

pub mod client;
pub mod frame;
pub mod rpc;
pub mod text;
pub mod v1;

/// The policy socket, open to the group `vmward`.
pub const POLICY_SOCKET: &str = "/run/vmward/policy.sock";
/// The admin socket, root only.
pub const ADMIN_SOCKET: &str = "/run/vmward/admin.sock";
/// The audit log that the daemon writes and `vmward audit` reads.
pub const AUDIT_LOG: &str = "/var/log/vmward/audit.jsonl";
