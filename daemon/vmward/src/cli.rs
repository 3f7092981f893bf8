//! The arguments, and which module each command goes to.

pub(crate) mod approvals;
pub(crate) mod call;
mod contradictions;
pub(crate) mod policy;
pub(crate) mod protection;

use std::{ffi::OsString, io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, builder::NonEmptyStringValueParser,
    error::ErrorKind,
};
use serde_json::{Map, Value};
use tracing_subscriber::EnvFilter;
use vmward_wire::{
    client::{Client, ClientError},
    frame,
    v1::{Effect, HelloParams, Holder},
};

use self::{
    approvals::{ApprovalsCommand, EventsArgs},
    call::CallArgs,
    protection::{ArmArgs, DisarmArgs},
};
use crate::{
    audit, authorize, events,
    exit::{self, Exit},
    identity::Identity,
    mcp, run, status, token,
};

/// How long the daemon may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What this program calls itself in the daemon's log.
const CLIENT: &str = concat!("vmward ", env!("CARGO_PKG_VERSION"));
/// The environment variable that makes `vmward` talk more.
const LOG_VARIABLE: &str = "VMWARD_LOG";

/// Ask the daemon that guards this host's virtual machines
#[derive(Debug, Parser)]
#[command(name = "vmward", version, after_help = exit::HELP)]
pub(crate) struct Cli {
    /// The daemon's socket [default: /run/vmward/policy.sock, and admin.sock beside it for
    /// `approvals`, `disarm`, `arm` and `events --admin`]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what the daemon protects, what it refuses, and what does not work
    Status {
        /// Print the daemon's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask whether a tool call, or an effect on a VM, may happen now; an allow is charged
    Authorize(AuthorizeArgs),
    /// Ask, run a command under the lease, and give the lease back
    Run(RunArgs),
    /// Read and check the audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Read, explain, test, replay and compare policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Serve MCP on standard input and output: list, start and stop VMs
    Mcp(McpArgs),
    /// Run an MCP server with the policy before its tools
    Wrap(WrapArgs),
    /// Requests for approval: list, show, approve, deny, watch
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Take protection away, of one VM or of the whole host: it comes back by itself, and what is
    /// done meanwhile is recorded
    Disarm(DisarmArgs),
    /// Put protection back
    Arm(ArmArgs),
    /// Print audit records as the daemon writes them
    Events(EventsArgs),
    /// Make a bearer token for a grant, and the lines of vmward.toml that go with it
    Token {
        /// The grant's name
        #[arg(value_name = "NAME", value_parser = token::parse_name)]
        name: String,
        /// Print token and hash as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuthorizeArgs {
    #[command(flatten)]
    pub(crate) call: CallArgs,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// On whose behalf, for limits of the scope `agent`
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Who may use the lease: the parent (the shell that runs vmward) or the caller (vmward
    /// itself, which ends at once)
    #[arg(long, default_value = "parent", value_parser = parse_holder)]
    pub(crate) holder: Holder,
    /// Where a person must approve: wait so many seconds for it, then ask again
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) wait: u64,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The VM, by name or UUID
    #[arg(long, required_unless_present = "host", requires = "effect")]
    pub(crate) vm: Option<String>,
    /// What the command does to it: stop, force-stop, reboot, reset, pause, save, migrate, delete
    #[arg(long, requires = "vm", value_parser = parse_effect)]
    pub(crate) effect: Option<Effect>,
    /// The command restarts or halts this host at once, as reboot -f and kexec -e do, and ends its
    /// VMs; an orderly shutdown (systemctl reboot) needs no lease
    #[arg(long, conflicts_with_all = ["vm", "effect"])]
    pub(crate) host: bool,
    /// Why, for the audit log
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
    /// Where a person must approve: wait so many seconds for it, then ask again
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) wait: u64,
    /// Print the decision as one line of JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct WrapArgs {
    /// The server's name for the policy's effect map; what it calls itself where absent
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// How many seconds a call may be held until a person has approved it; what the client sends
    /// after it waits meanwhile
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) approval_wait: u64,
    /// The server and its arguments
    #[arg(required = true, last = true, value_name = "SERVER")]
    pub(crate) server: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print the newest records
    Tail {
        /// How many
        #[arg(short = 'n', value_name = "N", default_value_t = 20)]
        count: usize,
        /// Go on with records as they come
        #[arg(short, long)]
        follow: bool,
        /// Print the records as they stand in the log
        #[arg(long)]
        json: bool,
        /// The log
        #[arg(long, value_name = "PATH", default_value = vmward_wire::AUDIT_LOG)]
        log: PathBuf,
    },
    /// Check that no record was changed, removed, added or moved
    Verify {
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
        /// The log
        #[arg(long, value_name = "PATH", default_value = vmward_wire::AUDIT_LOG)]
        log: PathBuf,
        /// Where the daemon keeps the number and hash of the newest record, by which
        /// missing ones show; /var/lib/vmward/audit-head for the daemon's own log.
        /// Only root can read it. One that is named and cannot be read is an error.
        #[arg(long, value_name = "PATH")]
        head: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    /// The libvirt connection
    #[arg(long, value_name = "URI", default_value = "qemu:///system")]
    pub(crate) connect: String,
    /// The virsh program
    #[arg(long, value_name = "PATH", default_value = "virsh")]
    pub(crate) virsh: PathBuf,
    /// How many seconds a VM may take to stop before the call says that it has not
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) stop_timeout: u64,
    /// How many seconds a call may be held until a person has approved it
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) approval_wait: u64,
}

/// Runs the command and says on standard error why it failed.
pub(crate) fn start(cli: Cli) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| "warn".into()))
        .init();
    if let Err(why) = contradictions::check(&cli) {
        Cli::command()
            .error(ErrorKind::ArgumentConflict, why)
            .exit();
    }
    let usual = if contradictions::is_for_people(&cli.command) {
        vmward_wire::ADMIN_SOCKET
    } else {
        vmward_wire::POLICY_SOCKET
    };
    let socket = Socket {
        path: cli.socket.unwrap_or_else(|| usual.into()),
        identity: cli.identity,
    };
    let ended = match cli.command {
        Command::Status { json } => status::status(&socket, json),
        Command::Authorize(args) => authorize::authorize(&socket, args),
        Command::Run(args) => run::run(&socket, args),
        Command::Audit(AuditCommand::Tail {
            count,
            follow,
            json,
            log,
        }) => audit::tail(&log, count, follow, json),
        Command::Audit(AuditCommand::Verify { json, log, head }) => {
            audit::verify(&log, head.as_deref(), json)
        }
        Command::Policy(command) => crate::policy::run(&socket, command),
        Command::Approvals(command) => crate::approvals::run(&socket, command),
        Command::Disarm(args) => crate::protection::disarm(&socket, args),
        Command::Arm(args) => crate::protection::arm(&socket, args),
        Command::Events(args) => events::watch(&socket, args.kinds, args.json),
        Command::Mcp(args) => mcp::serve(&socket, args),
        Command::Wrap(args) => mcp::wrap(&socket, args),
        Command::Token { name, json } => token::make(&name, json),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("vmward: {error:#}");
        Exit::of(&error).into()
    })
}

/// The policy socket that the user named, and as whom to ask there.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    identity: Identity,
}

impl Socket {
    /// A connection to ask on: version and grant are settled.
    pub(crate) fn open(&self) -> anyhow::Result<Client> {
        let hello = self.identity.hello(CLIENT)?;
        Ok(Client::open(&self.path, TIMEOUT, &hello)?)
    }

    /// A connection to look on: no grant matters, so none is claimed.
    pub(crate) fn look(&self) -> Result<Client, ClientError> {
        Client::open(&self.path, TIMEOUT, &HelloParams::new(CLIENT))
    }

    /// The same as [`Socket::open`] for the MCP side.
    pub(crate) fn gate(&self, approval_wait_s: u64) -> anyhow::Result<vmward_mcp::gate::Gate> {
        Ok(vmward_mcp::gate::Gate {
            approval_wait: Duration::from_secs(approval_wait_s),
            socket: self.path.clone(),
            timeout: TIMEOUT,
            hello: self.identity.hello(CLIENT)?,
        })
    }
}

fn parse_effect(text: &str) -> Result<Effect, String> {
    match serde_json::from_value(Value::from(text.replace('-', "_"))) {
        Ok(Effect::HostReboot) => Err("it is done to the host and to no VM: use --host".to_owned()),
        Ok(effect) => Ok(effect),
        Err(_) => Err(
            "it is one of stop, force_stop, reboot, reset, pause, save, migrate, delete".to_owned(),
        ),
    }
}

fn parse_holder(text: &str) -> Result<Holder, String> {
    serde_json::from_value(Value::from(text))
        .map_err(|_error| "it is one of parent, caller".to_owned())
}

fn parse_arguments(text: &str) -> Result<Map<String, Value>, String> {
    match frame::parse(text.as_bytes()) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => Err("it must be a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_the_help_names_every_exit_status() {
        Cli::command().debug_assert();
        let help = Cli::command().render_help().to_string();
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Denied,
            Exit::Unreachable,
            Exit::ChainBroken,
        ] {
            assert!(
                help.contains(&format!("\n  {}  ", exit as u8)),
                "{exit:?}: {help}"
            );
        }
    }

    #[test]
    fn an_effect_may_be_written_with_either_dash() {
        assert_eq!(parse_effect("force-stop"), Ok(Effect::ForceStop));
        assert_eq!(parse_effect("force_stop"), Ok(Effect::ForceStop));
        parse_effect("kill").expect_err("no such effect");
        // An effect is named with its VM.
        let error = parse_effect("host-reboot").expect_err("it has no VM");
        assert!(error.contains("use --host"), "{error}");
    }

    #[test]
    fn arguments_with_a_key_twice_are_wrong_usage() {
        let error = parse_arguments(r#"{"a":1,"a":2}"#).expect_err("must be refused");
        assert!(error.contains("appears twice"), "{error}");
    }
}
