//! Telling people that a request for approval waits: a command of the
//! administrator's, run for each request that is opened.
//!
//! The command is run without a shell, with an empty environment, in a process
//! group of its own, and gets the request as one line of JSON on standard input.
//! One runs at a time, so that an agent that asks for much cannot start many processes.
//! The daemon remembers for which requests it was run, not over a restart: those that
//! wait then are told again. What fails is counted and logged, and not tried again; the
//! request waits for a person all the same.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use vmward_wire::v1::approval::{Approval, ApprovalState};

use crate::connection::Service;
use crate::counters::{SharedCounters, count};
use crate::engine_task::{ApprovalCall, EngineHandle, Message, NotTaken};
use crate::secure_file::check_program;

/// How long to wait where the engine has no room for a question.
const BUSY: Duration = Duration::from_secs(1);
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

/// Runs the command for every request that waits, and for each that is opened from now
/// on, until the engine ends.
pub fn start(command: NoticeCommand, service: &Service) {
    let bell = service.feed.bell();
    let engine = service.engine.clone();
    let counters = Arc::clone(&service.counters);
    tokio::spawn(tell_all(bell, command, engine, counters));
}

/// What there is to tell is looked up and never kept, so that no burst of records, and
/// no restart, hides a request from people.
async fn tell_all(
    mut bell: watch::Receiver<()>,
    command: NoticeCommand,
    engine: EngineHandle,
    counters: SharedCounters,
) {
    let mut told = HashSet::new();
    loop {
        // What changes from here on rings again.
        bell.mark_unchanged();
        loop {
            let waiting = match waiting(&engine).await {
                Ok(waiting) => waiting,
                Err(NotTaken::Full) => {
                    tokio::time::sleep(BUSY).await;
                    continue;
                }
                Err(NotTaken::Ended) => return,
            };
            told.retain(|id| waiting.iter().any(|approval| approval.id == *id));
            let Some(next) = waiting.iter().find(|one| !told.contains(&one.id)) else {
                break;
            };
            told.insert(next.id);
            tell(&command, next, &counters).await;
        }
        if bell.changed().await.is_err() {
            return;
        }
    }
}

async fn tell(command: &NoticeCommand, approval: &Approval, counters: &SharedCounters) {
    match run(command, approval).await {
        Ok(()) => tracing::info!(request = approval.id, "a request for approval was told"),
        Err(why) => {
            count(&counters.notices_failed);
            tracing::warn!(
                request = approval.id,
                why,
                program = command.program,
                "the command for requests for approval failed"
            );
        }
    }
}

/// The requests that wait for a person, oldest first.
async fn waiting(engine: &EngineHandle) -> Result<Vec<Approval>, NotTaken> {
    let (reply, answer) = oneshot::channel();
    engine.offer(Message::Approval(ApprovalCall::List { reply }))?;
    let list = answer.await.ok().and_then(Result::ok);
    let mut all = list.ok_or(NotTaken::Ended)?.approvals;
    all.retain(|approval| approval.state == ApprovalState::Pending);
    Ok(all)
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
