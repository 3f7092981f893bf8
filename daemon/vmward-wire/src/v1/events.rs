//! `events.subscribe`: audit records as they are written.
//!
//! The answer to the request comes first. From then on the connection carries
//! only notifications, each an audit record as it stands in the log. On the
//! policy socket a caller sees the records about its own grant; on the admin
//! socket, all.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `"method"` of the notifications.
pub const NOTIFICATION: &str = "event";

/// Parameters of `events.subscribe`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeParams {
    /// Only records of these kinds (`decision`, `approval`, `kernel` ...); all
    /// where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

/// A notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// Always `2.0`.
    pub jsonrpc: String,
    /// [`NOTIFICATION`].
    pub method: String,
    /// What happened.
    pub params: Event,
}

/// What a notification carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An audit record, as in the log.
    Record(Value),
    /// So many records were left out because the subscriber was too slow; the
    /// log has them.
    Missed(u64),
}
