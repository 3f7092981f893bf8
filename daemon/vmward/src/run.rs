//! `vmward run`: a person's command, under the same policy as an agent's call.
//!
//! This process holds the lease, so the command, its child, may use it and
//! nobody else. When the command has ended, a lease that was not used is given
//! back. One that was used is not taken away: libvirt may still be at work for a
//! command that has ended, as after `virsh shutdown`.

mod program;

use std::{
    ffi::OsString,
    io,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};
use vmward_wire::v1::{
    AuthorizeParams, AuthorizeResult, CompleteParams, Decision, Holder, Outcome,
};

use crate::{
    authorize,
    cli::{RunArgs, Socket, call::effect_or_host},
    exit::{self, Exit},
    text::plain,
};

/// Asks, runs, reports. Returns the command's own exit status. A command that
/// cannot be there is not asked for: an allow is charged.
pub(crate) fn run(socket: &Socket, args: RunArgs) -> anyhow::Result<ExitCode> {
    let program = args.command.first().cloned().unwrap_or_default();
    let name = plain(&program.to_string_lossy());
    if let Err(unfit) = program::look(&program) {
        eprintln!(
            "vmward: Failed to start {name}: {}; vmwardd was not asked",
            unfit.why()
        );
        return Ok(ExitCode::from(unfit.status()));
    }
    let params = AuthorizeParams {
        vm: args.vm,
        effect: effect_or_host(args.effect, args.host),
        reason: Some(args.reason),
        holder: Holder::Caller,
        ..AuthorizeParams::default()
    };
    let (answer, verdict) = authorize::ask(socket, &params, Duration::from_secs(args.wait))?;
    let text = if args.json {
        format!("{answer}\n")
    } else {
        authorize::render(&verdict)
    };
    eprint!("{text}");
    if verdict.decision != Decision::Allow {
        return Ok(Exit::Denied.into());
    }
    let ended = start(args.command)?;
    let (outcome, detail, code) = told(ended, &name);
    if let Err(error) = settle(socket, &verdict, outcome, detail) {
        // The lease lapses by itself; the command's status matters more.
        eprintln!("vmward: The outcome could not be reported: {error:#}");
    }
    Ok(code)
}

/// How the command ended, inside what came of starting it.
type Ended = io::Result<io::Result<ExitStatus>>;

/// Runs the command to its end.
fn start(command: Vec<OsString>) -> io::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(async {
        // Before the command starts: from now on no signal may end this
        // process without the outcome being reported.
        let mut signals = Signals::catch()?;
        let mut command = command.into_iter();
        let mut command = Command::new(command.next().unwrap_or_default())
            .args(command)
            .spawn()?;
        Ok(signals.wait(&mut command).await)
    }))
}

/// What the daemon is told of it, and this process's own exit status.
fn told(ended: Ended, name: &str) -> (Outcome, String, ExitCode) {
    match ended {
        Ok(Ok(status)) if status.success() => (
            Outcome::Unknown,
            "the command succeeded".to_owned(),
            exit::of_command(status),
        ),
        Ok(Ok(status)) => (
            Outcome::Failed,
            format!("the command ended with {status}"),
            exit::of_command(status),
        ),
        Ok(Err(error)) => {
            eprintln!("vmward: Failed to wait for the command: {error}");
            (
                Outcome::Unknown,
                format!("waiting for the command failed: {error}"),
                Exit::Failed.into(),
            )
        }
        Err(error) => {
            eprintln!("vmward: Failed to start {name}: {error}");
            let code = if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            };
            (
                Outcome::NotAttempted,
                format!("it did not start: {error}"),
                ExitCode::from(code),
            )
        }
    }
}

/// The signals that would end this process.
struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the command. What a terminal sends reaches the command by
    /// itself; what is sent to this process alone is passed on.
    async fn wait(&mut self, command: &mut Child) -> io::Result<ExitStatus> {
        loop {
            let forward = tokio::select! {
                status = command.wait() => return status,
                _ = self.interrupt.recv() => continue,
                _ = self.quit.recv() => continue,
                _ = self.terminate.recv() => "TERM",
                _ = self.hangup.recv() => "HUP",
            };
            // Not reaped yet, so the number is still the command's.
            let Some(pid) = command.id() else { continue };
            let sent = Command::new("kill")
                .args(["-s", forward, &pid.to_string()])
                .status()
                .await;
            if !sent.is_ok_and(|status| status.success()) {
                eprintln!("vmward: Failed to pass SIG{forward} on to process {pid}");
            }
        }
    }
}

fn settle(
    socket: &Socket,
    verdict: &AuthorizeResult,
    outcome: Outcome,
    detail: String,
) -> anyhow::Result<()> {
    let params = CompleteParams {
        decision_id: verdict.decision_id,
        outcome,
        detail: Some(detail),
    };
    let lease = verdict.lease.as_ref().map(|lease| lease.id);
    Ok(socket.open()?.settle(&params, lease)?)
}
