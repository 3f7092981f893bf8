//! The MCP server `vmward mcp`.
//!
//! Every call goes policy first, libvirt second, truth third: what is
//! reported is what was seen to happen to the VM.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
        PaginatedRequestParams, RequestMetaObject, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};
use tracing::warn;
use vmward_wire::v1::{AuthorizeResult, Decision, Outcome, ReasonCode};

use crate::{
    answer::{Answer, chain},
    gate::{Ending, Gate, Release},
    tools::{self, Call, Stop},
    virsh::{Domain, Identifier, SHUT_OFF, Virsh, VirshError},
};

/// What this server calls itself, to clients and to the policy.
const SERVER_NAME: &str = "vmward";
/// How often a stopping VM is looked at.
const POLL: Duration = Duration::from_millis(300);

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client never finished its handshake.
    #[error("The MCP client did not initialize: {reason}")]
    Initialize {
        /// What went wrong.
        reason: String,
    },
    /// The server's own task died.
    #[error("The MCP server broke off: {reason}")]
    Broken {
        /// What went wrong.
        reason: String,
    },
}

/// The server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Whom to ask.
    pub gate: Gate,
    /// Whom to tell.
    pub virsh: Virsh,
    /// How long a VM may take to stop before the call says that it has not.
    pub stop_timeout: Duration,
}

/// Serves one MCP client on standard input and output until it leaves.
pub async fn serve(server: Server) -> Result<(), ServeError> {
    let running = server
        .serve(rmcp::transport::stdio())
        .await
        .map_err(|error| ServeError::Initialize {
            reason: chain(&error),
        })?;
    match running.waiting().await {
        Ok(_reason) => Ok(()),
        Err(error) => Err(ServeError::Broken {
            reason: error.to_string(),
        }),
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(SERVER_NAME, env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "Each call is checked against the policy of this host. A refused call says why \
                 and how long to wait; trying another way to stop the VM is refused by the kernel.",
            )
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.visible().await))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::list().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let agent = match request
            .meta
            .as_ref()
            .and_then(RequestMetaObject::client_info)
        {
            Some(client) => Some(client.name),
            None => context
                .peer
                .peer_info()
                .map(|peer| peer.client_info.name.clone()),
        };
        let arguments = request.arguments.unwrap_or_default();
        let answer = self
            .call(&request.name, arguments, agent)
            .await
            .ok_or_else(|| {
                let message = format!("Unknown tool: {}", request.name);
                ErrorData::invalid_params(message, None)
            })?;
        Ok(CallToolResult::from(answer).into())
    }
}

impl Server {
    /// The tools that the policy does not always deny to this caller.
    async fn visible(&self) -> Vec<Tool> {
        let mut tools = tools::list();
        let names = tools.iter().map(|tool| tool.name.to_string()).collect();
        let own = Some(SERVER_NAME.to_owned());
        match self.gate.visible(names, own).await {
            Ok(visible) => {
                tools.retain(|tool| visible.iter().any(|name| *name == tool.name));
            }
            Err(error) => warn!(
                %error,
                "The list of tools is not filtered; calls are judged all the same"
            ),
        }
        tools
    }

    /// Runs one call; `None` when there is no such tool.
    async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        agent: Option<String>,
    ) -> Option<Answer> {
        let call = match Call::parse(tool, &arguments)? {
            Ok(call) => call,
            Err(reason) => return Some(Answer::invalid(tool, &reason)),
        };
        let own = Some(SERVER_NAME.to_owned());
        let verdict = match self.gate.ask(tool, arguments, agent, own).await {
            Ok(verdict) => verdict,
            Err(error) => return Some(Answer::unasked(tool, &error)),
        };
        if verdict.decision != Decision::Allow {
            return Some(self.refuse(tool, &call, &verdict).await);
        }
        let (answer, ending) = match call {
            Call::List => self.list().await,
            Call::Start(identifier) => self.start(&identifier, &verdict).await,
            Call::Stop(identifier, how) => self.stop(&identifier, how, &verdict).await,
        };
        self.gate.settle(&verdict, ending).await;
        Some(answer)
    }

    /// A stop of a VM that does not run is refused, because there is nothing to
    /// do. Where libvirt agrees that it is off, that is what the agent wanted.
    async fn refuse(&self, tool: &str, call: &Call, verdict: &AuthorizeResult) -> Answer {
        if let (Call::Stop(identifier, _), ReasonCode::VmNotRunning) = (call, verdict.reason_code)
            && let Ok(domain) = self.virsh.resolve(identifier).await
            && self
                .virsh
                .state(&domain.uuid)
                .await
                .is_ok_and(|state| state == SHUT_OFF)
        {
            return already_stopped(&domain, "no quota was used", verdict);
        }
        Answer::denied(tool, verdict)
    }

    async fn list(&self) -> (Answer, Ending) {
        let domains = match self.virsh.list().await {
            Ok(domains) => domains,
            Err(error) => return broken(&error, Outcome::Failed),
        };
        let lines = domains
            .iter()
            .map(|(vm, state)| format!("{} ({state}) {}", vm.name, vm.uuid));
        let text = match domains.len() {
            0 => "No VMs on this host".to_owned(),
            _ => lines.collect::<Vec<_>>().join("\n"),
        };
        let vms = domains
            .iter()
            .map(|(vm, state)| json!({ "uuid": vm.uuid, "name": vm.name, "state": state }))
            .collect::<Vec<_>>();
        let detail = format!("{} VMs listed", domains.len());
        (
            Answer::done(text, json!({ "vms": vms })),
            ended(Outcome::Unknown, detail),
        )
    }

    async fn start(&self, identifier: &Identifier, verdict: &AuthorizeResult) -> (Answer, Ending) {
        let domain = match self.virsh.resolve(identifier).await {
            Ok(domain) => domain,
            Err(error) => return broken(&error, Outcome::NotAttempted),
        };
        if let Err(error) = self.virsh.command("start", &domain.uuid).await {
            return broken(&error, Outcome::Failed);
        }
        let state = match self.virsh.state(&domain.uuid).await {
            Ok(state) => state,
            Err(error) => return broken(&error, Outcome::Unknown),
        };
        let text = format!("{}: {state}", domain.name);
        let structured = json!({
            "vm": { "uuid": domain.uuid, "name": domain.name },
            "state": state,
            "decision_id": verdict.decision_id,
        });
        (
            Answer::done(text.clone(), structured),
            ended(Outcome::Unknown, text),
        )
    }

    async fn stop(
        &self,
        identifier: &Identifier,
        how: Stop,
        verdict: &AuthorizeResult,
    ) -> (Answer, Ending) {
        // The lease says which VM the policy meant; where there is none,
        // libvirt has to say it.
        let domain = match &verdict.lease {
            Some(lease) => Domain {
                uuid: lease.vm.uuid.clone(),
                name: lease.vm.name.clone(),
            },
            None => match self.virsh.resolve(identifier).await {
                Ok(domain) => domain,
                Err(error) => return broken(&error, Outcome::NotAttempted),
            },
        };
        match self.virsh.state(&domain.uuid).await {
            Ok(state) if state == SHUT_OFF => {
                let answer = already_stopped(&domain, "nothing was sent", verdict);
                return (
                    answer,
                    ended(Outcome::NotAttempted, "already stopped".to_owned()),
                );
            }
            Ok(_) => {}
            Err(error) => return broken(&error, Outcome::NotAttempted),
        }
        let started = Instant::now();
        let sent = self.virsh.command(how.verb(), &domain.uuid).await;
        // A command that failed may have worked all the same, so look once.
        let patience = if sent.is_ok() {
            self.stop_timeout
        } else {
            Duration::ZERO
        };
        let state = self
            .wait_until_stopped(&domain.uuid, started, patience)
            .await;
        report_stop(
            &domain,
            how,
            sent,
            state,
            started.elapsed(),
            verdict.decision_id,
        )
    }

    async fn wait_until_stopped(
        &self,
        uuid: &str,
        started: Instant,
        patience: Duration,
    ) -> Result<String, VirshError> {
        loop {
            let state = self.virsh.state(uuid).await;
            match &state {
                Ok(now) if now == SHUT_OFF => return state,
                // libvirtd may restart meanwhile: ask on until the deadline.
                _ if started.elapsed() >= patience => return state,
                _ => sleep(POLL).await,
            }
        }
    }
}

/// Says what became of the VM, from what was sent and what was seen.
fn report_stop(
    domain: &Domain,
    how: Stop,
    sent: Result<(), VirshError>,
    state: Result<String, VirshError>,
    took: Duration,
    decision_id: u64,
) -> (Answer, Ending) {
    let (name, verb) = (&domain.name, how.verb());
    let seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
    let stopped = matches!(&state, Ok(state) if state == SHUT_OFF);
    let structured = json!({
        "vm": { "uuid": domain.uuid, "name": name },
        "command": verb,
        "sent": sent.is_ok(),
        "stopped": stopped,
        "state": state.as_deref().unwrap_or("unknown"),
        "seconds": seconds,
        "decision_id": decision_id,
    });
    match (sent, state) {
        (_, Ok(_)) if stopped => {
            let text = format!("{name}: stopped after {seconds} s (virsh {verb})");
            (
                Answer::done(text.clone(), structured),
                ended(Outcome::Stopped, text),
            )
        }
        (Ok(()), Ok(state)) => {
            let text = format!("{name}: {verb} was sent, still {state} after {seconds} s");
            let answer = Answer::failed(text.clone(), structured);
            // The guest may still be on its way down under this lease.
            let release = Release::AtDeadline;
            (
                answer,
                Ending {
                    outcome: Outcome::StillRunning,
                    detail: text,
                    release,
                },
            )
        }
        (Ok(()), Err(error)) => {
            let error = chain(&error);
            let text = format!("{name}: {verb} was sent, but its state is unknown: {error}");
            let answer = Answer::failed(text.clone(), structured);
            let release = Release::AtDeadline;
            (
                answer,
                Ending {
                    outcome: Outcome::Unknown,
                    detail: text,
                    release,
                },
            )
        }
        (Err(error), state) => {
            let state = state.unwrap_or_else(|_error| "in an unknown state".to_owned());
            let text = format!("{name}: not stopped, it is {state}: {}", chain(&error));
            (
                Answer::failed(text.clone(), structured),
                ended(Outcome::Failed, text),
            )
        }
    }
}

fn already_stopped(domain: &Domain, note: &str, verdict: &AuthorizeResult) -> Answer {
    Answer::done(
        format!("{}: already stopped, {note}", domain.name),
        json!({
            "vm": { "uuid": domain.uuid, "name": domain.name },
            "sent": false,
            "stopped": true,
            "state": SHUT_OFF,
            "seconds": 0.0,
            "decision_id": verdict.decision_id,
        }),
    )
}

fn broken(error: &VirshError, outcome: Outcome) -> (Answer, Ending) {
    let text = chain(error);
    (
        Answer::failed(text.clone(), json!({ "error": "libvirt", "message": text })),
        ended(outcome, text),
    )
}

fn ended(outcome: Outcome, detail: String) -> Ending {
    Ending {
        outcome,
        detail,
        release: Release::Now,
    }
}
