//! The engine with its journal, its audit log and the kernel maps, and the
//! thread that works on them. Everything that happens to them comes in as a
//! [`Message`], one after the other, but for calls of `authorize`, which a
//! client's own thread may decide: see `desk.rs`.
//!
//! Group commit: the thread takes a message, then whatever waits behind it,
//! decides them all, and makes all their journal lines durable with one sync
//! before any of them is answered.

mod approvals;
mod authorize;
mod batch;
mod denials;
mod desk;
mod disarm;
mod evidence;
mod explain;
mod flood;
mod guards;
mod host_side;
mod kept;
mod kernel_side;
mod lap;
mod leases;
mod names;
mod policy_state;
mod running;
mod seq;
mod shell;
pub mod start;
mod status;
#[cfg(test)]
mod tests;
mod vms;
mod witness;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use vmward_core::engine::Viewer;
use vmward_core::ids::Process;
use vmward_core::policy::Policy;
use vmward_wire::rpc::ErrorObject;
use vmward_wire::v1;

pub use self::approvals::ApprovalCall;
use self::desk::{Desk, Seated};
pub use self::disarm::ProtectionCall;
pub use self::kernel_side::KernelSide;
use self::shell::Shell;
pub(crate) use self::shell::chain;
use crate::inventory::Sighting;
use crate::kernel_events::Credit;
use crate::policy_store::PolicyFileError;
use crate::record::Witnessed;

/// Most messages that wait for the engine.
const QUEUE_MAX: usize = 1024;
/// Most messages decided before one sync.
const BATCH_MAX: usize = 256;
/// Look at deadlines, the audit's sync and the like at least this often.
const TICK: Duration = Duration::from_secs(1);

/// Who asks, by what the kernel says.
#[derive(Clone, Debug)]
pub struct CallerFacts {
    /// The quota account.
    pub grant: String,
    /// The process that connected.
    pub process: Process,
    /// Its user.
    pub uid: u32,
    /// Its name.
    pub comm: String,
    /// Its executable.
    pub exe: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// The user who logged in, whatever user it became later.
    pub loginuid: Option<u32>,
}

/// A call of `authorize`.
#[derive(Debug)]
pub struct AuthorizeCall {
    /// As the caller sent them.
    pub params: v1::AuthorizeParams,
    /// Who asks.
    pub caller: CallerFacts,
    /// The process that will hold the lease.
    pub holder: Process,
    /// Where the answer goes.
    pub reply: Reply<v1::AuthorizeResult>,
}

/// Where an answer goes; nobody may be listening any more.
pub type Reply<T> = oneshot::Sender<Result<T, ErrorObject>>;

/// A policy that is ready to be in force, or why there is none.
pub type Loaded = Result<Policy, PolicyFileError>;

/// Everything that can happen to the engine.
#[derive(Debug)]
pub enum Message {
    /// A call asks for permission.
    Authorize(Box<AuthorizeCall>),
    /// A caller says what became of a call.
    Complete {
        /// As the caller sent them.
        params: v1::CompleteParams,
        /// Who asks.
        caller: CallerFacts,
        /// Where the answer goes.
        reply: Reply<v1::Done>,
    },
    /// A holder gives a lease back.
    Release {
        /// As the caller sent them.
        params: v1::LeaseReleaseParams,
        /// Who asks.
        caller: CallerFacts,
        /// Where the answer goes.
        reply: Reply<v1::Done>,
    },
    /// What would become of a call?
    Explain {
        /// As the caller sent them.
        params: v1::AuthorizeParams,
        /// Who asks.
        caller: CallerFacts,
        /// Where the answer goes.
        reply: Reply<v1::explain::ExplainResult>,
    },
    /// Which tools should an agent see?
    Filter {
        /// As the caller sent them.
        params: v1::tools::ToolsFilterParams,
        /// Who asks.
        caller: CallerFacts,
        /// Where the answer goes.
        reply: Reply<v1::tools::ToolsFilterResult>,
    },
    /// Something about requests for approval.
    Approval(ApprovalCall),
    /// A person takes protection away, or puts it back.
    Protection(Box<ProtectionCall>),
    /// Somebody wants to see how things are.
    Status {
        /// Who, where it is not shown everything.
        viewer: Option<Viewer>,
        /// Where the answer goes.
        reply: oneshot::Sender<v1::StatusResult>,
    },
    /// libvirt was looked at.
    Sighting(Sighting),
    /// The kernel saw something. The credit goes back when it is taken down.
    Kernel(Vec<Witnessed>, Credit),
    /// What was in the ring at this time (boot-time nanoseconds) is in the messages
    /// before this one.
    KernelCaughtUp(i64),
    /// A unit of the service manager has come or gone.
    Units,
    /// The policy file was read again; answers with the fault, where there is one.
    Policy(Box<Loaded>, oneshot::Sender<Result<(), String>>),
    /// A client's thread left a decision that waits for the journal.
    Waiting,
    /// Are you alive?
    Ping(oneshot::Sender<()>),
    /// Finish what was asked before this, make it durable, end.
    Stop(oneshot::Sender<()>),
}

/// Why a message is not in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// As many wait as there is room for.
    Full,
    /// The engine has ended, and the daemon is about to.
    Ended,
}

/// The way to the engine, for everyone.
#[derive(Clone)]
pub struct EngineHandle {
    queue: SyncSender<Message>,
    desk: Arc<Desk>,
}

impl EngineHandle {
    /// Puts a message into the queue. For clients, who can be told to come again.
    /// A call of `authorize` is decided on this very thread where that is possible,
    /// which may take as long as the disk.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub fn offer(&self, message: Message) -> Result<(), NotTaken> {
        let message = match message {
            Message::Authorize(call) => match self.desk.decide(call) {
                Seated::Answered => return Ok(()),
                Seated::Waits => {
                    // In a full queue there is something to wake the thread.
                    let _full = self.queue.try_send(Message::Waiting);
                    return Ok(());
                }
                Seated::Taken(call) => Message::Authorize(call),
            },
            other => other,
        };
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Full,
            TrySendError::Disconnected(_) => NotTaken::Ended,
        })
    }

    /// To be called when an answer was sent: what is due after it is begun now.
    pub fn answered(&self) {
        self.desk.settle();
    }

    /// Puts a message into the queue, waiting for room; false when the engine
    /// has ended. For threads whose messages must not be lost.
    pub fn push(&self, message: Message) -> bool {
        self.queue.send(message).is_ok()
    }

    /// Has a policy loaded by a thread of its own, and put in force: a long or a
    /// wrong one takes seconds, in which others want to be answered. Of two calls
    /// the one that ends later counts, so wait for the answer in between.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn take_policy(
        &self,
        load: impl FnOnce() -> Loaded + Send + 'static,
    ) -> std::io::Result<oneshot::Receiver<Result<(), String>>> {
        let (reply, answer) = oneshot::channel();
        let engine = self.clone();
        std::thread::Builder::new()
            .name("policy".to_owned())
            .spawn(move || {
                let loaded = Box::new(load());
                // An engine that has ended needs no policy.
                let _ended = engine.push(Message::Policy(loaded, reply));
            })?;
        Ok(answer)
    }
}

/// Starts the thread, and the one that writes the audit log.
///
/// # Errors
/// A thread cannot be started.
pub fn spawn(shell: Shell) -> std::io::Result<(EngineHandle, JoinHandle<()>)> {
    let (queue, messages) = sync_channel(QUEUE_MAX);
    let desk = Arc::new(Desk::new(shell));
    let scribe = desk.audit().start_scribe()?;
    let own = Arc::clone(&desk);
    let thread = std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            run(&own, &messages);
            own.audit().end_scribe();
            // With `panic = "abort"` it cannot have panicked.
            drop(scribe.join());
        })?;
    Ok((EngineHandle { queue, desk }, thread))
}

fn run(desk: &Desk, messages: &Receiver<Message>) {
    loop {
        let first = match messages.recv_timeout(desk.pause(TICK)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                desk.finish();
                return;
            }
        };
        let waiting = std::iter::from_fn(|| messages.try_recv().ok());
        let taken: Vec<Message> = first.into_iter().chain(waiting.take(BATCH_MAX)).collect();
        if let Some(stopped) = desk.round(taken) {
            desk.finish();
            // The one who asked may have given up waiting.
            let _unheard = stopped.send(());
            return;
        }
    }
}
