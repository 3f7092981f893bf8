//! Requests whose answers the proxy reads, and what it does with these.

use std::sync::PoisonError;

use tracing::warn;
use vmward_wire::{rpc::Id, v1::AuthorizeResult};

use super::{
    PENDING_MAX, Proxy,
    message::{self, Asked},
};

impl Proxy {
    /// Remembers a request whose answer matters here.
    pub(super) fn note(&self, value: &serde_json::Value) {
        let Some((id, asked)) = message::asked(value) else {
            return;
        };
        let mut open = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() < PENDING_MAX {
            open.insert(id, asked);
        }
    }

    /// Takes the server's name from its answer, and from its list of tools those
    /// that an agent should not see. A list that cannot be judged goes on as it
    /// is: a call of any tool is judged all the same.
    pub(super) async fn read_answer(&self, id: &Id, line: &mut Vec<u8>) {
        let asked = self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        match asked {
            // A tool may well answer with a list of that name.
            None if self.is_open(id) => {}
            Some(Asked::Initialize) => {
                if let Some(name) = message::server_name(line) {
                    self.server_name.get_or_init(|| name);
                }
            }
            // The answer to a request that was cancelled, or found no room, is a list, too.
            Some(Asked::ToolsList) | None => {
                let Some((mut answer, names)) = message::tools(line) else {
                    return;
                };
                let server = self.server_name.get().cloned();
                match self.gate.visible(names, server).await {
                    Ok(visible) => {
                        message::keep(&mut answer, &visible);
                        *line = answer.to_string().into_bytes();
                    }
                    Err(error) => warn!(
                        %error,
                        "The list of tools is not filtered; calls are judged all the same"
                    ),
                }
            }
        }
    }

    /// The client does not want this answered any more. Returns the verdict, where it
    /// is a call.
    pub(super) fn cancel(&self, id: &Id) -> Option<AuthorizeResult> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // The server's name is wanted all the same.
        asked.retain(|other, what| other != id || matches!(what, Asked::Initialize));
        drop(asked);
        self.take(id)
    }

    fn is_open(&self, id: &Id) -> bool {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.contains_key(id)
    }
}
