//! `hello`: which version is spoken, and whose account is charged.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::PROTOCOL_VERSION;

/// Parameters of `hello`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloParams {
    /// The newest protocol version that the caller speaks.
    pub version: u32,
    /// The caller's own name, for the log only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The grant to ask under, where the caller's credentials or its token allow
    /// several; the first that they allow where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// A grant's bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl HelloParams {
    /// A client of this version that claims no grant.
    pub fn new(client: &str) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            client: Some(client.to_owned()),
            grant: None,
            token: None,
        }
    }
}

impl fmt::Debug for HelloParams {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelloParams")
            .field("version", &self.version)
            .field("client", &self.client)
            .field("grant", &self.grant)
            .field("token", &self.token.as_ref().map(|_secret| "..."))
            .finish()
    }
}

/// Result of `hello`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HelloResult {
    /// The protocol version that this connection speaks from now on.
    pub version: u32,
    /// The daemon's product version.
    pub daemon: String,
    /// The grant that this connection's calls are charged to from now on.
    pub grant: String,
}
