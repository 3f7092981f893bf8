//! Telling people that a request for approval waits: a command of the
//! administrator's, run for each request that is opened.
//!
//! The command is run without a shell, with an empty environment, in a process
//! group of its own, and gets the request as one line of JSON on standard input.
//! One runs at a time and few wait, so that an agent that asks for much cannot
//! start many processes; what finds no room is counted and logged. The request
//! waits for a person all the same.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;
use vmward_core::audit::{ApprovalEvent, AuditBody};
use vmward_core::ids::DecisionId;
use vmward_wire::v1::approval::Approval;

use crate::connection::Service;
use crate::counters::{SharedCounters, count, count_by};
use crate::engine_task::{ApprovalCall, EngineHandle, Message};
use crate::feed::Published;
use crate::secure_file::check_program;

/// Most requests that wait for the command to be free.
const WAITING_MAX: usize = 64;
/// The command must end within this time.
const DEADLINE: Duration = Duration::from_secs(10);

/// The command.
#[derive(Clone, Debug)]
pub struct NoticeCommand {
    program: String,
    arguments: Vec<String>,
}

impl NoticeCommand {
    /// `None` where no command is wanted.
    pub fn new(words: Vec<String>) -> Option<NoticeCommand> {
        let mut words = words.into_iter();
        Some(NoticeCommand {
            program: words.next()?,
            arguments: words.collect(),
        })
    }
}

/// Runs the command for every request from now on, until the runtime ends.
pub fn start(command: NoticeCommand, service: &Service) {
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    let counters = Arc::clone(&service.counters);
    tokio::spawn(listen(service.feed.listen(), queue, counters));
    let counters = Arc::clone(&service.counters);
    tokio::spawn(work(waiting, command, service.engine.clone(), counters));
}

async fn listen(
    mut records: broadcast::Receiver<Arc<Published>>,
    queue: mpsc::Sender<DecisionId>,
    counters: SharedCounters,
) {
    loop {
        let record = match records.recv().await {
            Ok(record) => record,
            Err(RecvError::Lagged(missed)) => {
                count_by(&counters.events_missed, missed);
                tracing::warn!(missed, "some requests for approval may not be told");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let AuditBody::Approval(approval) = &record.body else {
            continue;
        };
        if approval.event == ApprovalEvent::Opened && queue.try_send(approval.approval).is_err() {
            count(&counters.notices_failed);
            tracing::warn!(
                request = approval.approval.0,
                "the command for requests for approval is busy; this request is not told"
            );
        }
    }
}

async fn work(
    mut waiting: mpsc::Receiver<DecisionId>,
    command: NoticeCommand,
    engine: EngineHandle,
    counters: SharedCounters,
) {
    while let Some(id) = waiting.recv().await {
        let Some(approval) = look_up(&engine, id).await else {
            // Decided or lapsed meanwhile, or the engine is gone.
            continue;
        };
        match run(&command, &approval).await {
            Ok(()) => tracing::info!(request = id.0, "a request for approval was told"),
            Err(why) => {
                count(&counters.notices_failed);
                tracing::warn!(
                    request = id.0,
                    why,
                    program = command.program,
                    "the command for requests for approval failed"
                );
            }
        }
    }
}

async fn look_up(engine: &EngineHandle, id: DecisionId) -> Option<Approval> {
    let (reply, answer) = oneshot::channel();
    let asked = engine.offer(Message::Approval(ApprovalCall::Show { id, reply }));
    if asked.is_err() {
        return None;
    }
    answer.await.ok()?.ok()
}

/// Runs the command once. An error says why it did not do its work.
async fn run(command: &NoticeCommand, approval: &Approval) -> Result<(), String> {
    let NoticeCommand { program, arguments } = command;
    check_program(Path::new(program)).map_err(|error| error.to_string())?;
    let mut line = serde_json::to_vec(approval).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let input = child.stdin.take();
    let ended = timeout(DEADLINE, async {
        if let Some(mut input) = input {
            // A command that does not want to know is no fault.
            drop(input.write_all(&line).await);
        }
        child.wait().await
    })
    .await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(format!("its end cannot be known: {error}")),
        Err(_late) => {
            end(&mut child).await;
            Err(format!(
                "it did not end within {} s and was killed",
                DEADLINE.as_secs()
            ))
        }
    }
}

/// Ends the command and what it started. It was not waited for, so the number
/// is still its own.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(group) = group
        && let Err(error) = killpg(Pid::from_raw(group), Signal::SIGKILL)
    {
        tracing::warn!(%error, "the command for requests for approval cannot be killed");
    }
    drop(child.wait().await);
}

#[cfg(test)]
mod tests;
