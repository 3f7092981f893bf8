//! Asking the policy socket from asynchronous code.
//!
//! Each question opens its own connection: the daemon names the caller by the
//! connection, and a connection kept for hours would outlive the daemon.

use std::{path::PathBuf, time::Duration};

use serde_json::{Map, Value};
use tracing::warn;
use vmward_wire::{
    client::{Client, ClientError},
    v1::{
        AuthorizeParams, AuthorizeResult, CompleteParams, HelloParams, Outcome,
        approval::ApprovalState,
        tools::{TOOLS_MAX, ToolsFilterParams},
    },
};

/// The longest agent name that goes into the audit, in characters.
const AGENT_CHARS_MAX: usize = 128;

/// Where to ask, and how long to wait.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The policy socket.
    pub socket: PathBuf,
    /// Bounds each question, connecting included.
    pub timeout: Duration,
    /// Who is asking, and as which grant.
    pub hello: HelloParams,
    /// How long a call may be held until a person has approved it.
    pub approval_wait: Duration,
}

/// How an allowed call ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What was seen.
    pub outcome: Outcome,
    /// The same in words, for the audit.
    pub detail: String,
    /// Give the lease back now. Not wanted while the VM may still be on its
    /// way down under it.
    pub release: Release,
}

/// What happens to the lease when a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It goes back.
    Now,
    /// It lapses by itself.
    AtDeadline,
}

impl Gate {
    /// May this tool be called with these arguments now? `server` is the name of
    /// the MCP server that offers it. A call that a person must approve is held
    /// for as long as [`Gate::approval_wait`] says, and then asked about again.
    pub async fn ask(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        agent: Option<String>,
        server: Option<String>,
    ) -> Result<AuthorizeResult, ClientError> {
        let params = AuthorizeParams {
            tool: Some(tool.to_owned()),
            server: server.and_then(|name| presentable(&name)),
            arguments,
            agent: agent.and_then(|name| presentable(&name)),
            ..AuthorizeParams::default()
        };
        let patience = self.approval_wait;
        self.blocking(move |client| {
            let verdict = client.authorize(&params)?;
            let Some(approval) = verdict.approval.as_ref().filter(|_| !patience.is_zero()) else {
                return Ok(verdict);
            };
            match client.wait_for_approval(approval.id, patience) {
                Ok(waited) if waited.state == ApprovalState::Pending => Ok(verdict),
                Ok(_decided) => client.authorize(&params),
                Err(error) => {
                    warn!(request = approval.id, %error, "The approval could not be waited for");
                    Ok(verdict)
                }
            }
        })
        .await
    }

    /// Which of these tools an agent should see.
    pub async fn visible(
        &self,
        tools: Vec<String>,
        server: Option<String>,
    ) -> Result<Vec<String>, ClientError> {
        let server = server.and_then(|name| presentable(&name));
        self.blocking(move |client| {
            let mut visible = Vec::new();
            for tools in tools.chunks(TOOLS_MAX) {
                let params = ToolsFilterParams {
                    tools: tools.to_vec(),
                    server: server.clone(),
                };
                visible.extend(client.filter_tools(&params)?.visible);
            }
            Ok(visible)
        })
        .await
    }

    /// Reports how an allowed call ended. A report that gets lost costs quota
    /// and nothing else, so failures are only logged.
    pub async fn settle(&self, verdict: &AuthorizeResult, ending: Ending) {
        let decision_id = verdict.decision_id;
        let lease = match ending.release {
            Release::Now => verdict.lease.as_ref().map(|lease| lease.id),
            Release::AtDeadline => None,
        };
        let params = CompleteParams {
            decision_id,
            outcome: ending.outcome,
            detail: Some(ending.detail),
        };
        let settled = self
            .blocking(move |client| client.settle(&params, lease))
            .await;
        if let Err(error) = settled {
            warn!(decision_id, %error, "The outcome could not be reported");
        }
    }

    async fn blocking<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Client) -> Result<R, ClientError> + Send + 'static,
    ) -> Result<R, ClientError> {
        let gate = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut client = Client::open(&gate.socket, gate.timeout, &gate.hello)?;
            question(&mut client)
        })
        .await;
        // The task only fails when this process is ending.
        asked.unwrap_or(Err(ClientError::Closed))
    }
}

/// An agent names itself, so its name must not be able to forge log lines. A
/// name of which nothing is left is none.
fn presentable(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(AGENT_CHARS_MAX)
        .collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_without_a_presentable_name_has_none_and_may_still_ask() {
        assert_eq!(
            presentable("claude\n\u{1b}[2K"),
            Some("claude[2K".to_owned())
        );
        assert_eq!(presentable(""), None);
        assert_eq!(presentable("\n\u{7}"), None);
    }
}
