//! The arguments of `vmward approvals` and `vmward events`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List the requests that wait, and those decided and not over yet
    List {
        /// Print the daemon's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all that a yes would allow
    Show {
        /// The request's number
        id: u64,
        /// Print the daemon's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say yes: the same call is allowed once
    Approve(DecideArgs),
    /// Say no: the same call is denied for a while
    Deny(DecideArgs),
    /// Print requests as they are opened, decided, used, or lapse
    Watch {
        /// Print the audit records as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// The request's number
    pub(crate) id: u64,
    /// What the one who asked should know about it
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only records of this kind, such as decision or kernel; may be given again
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<String>,
    /// Print the records as they stand in the log
    #[arg(long)]
    pub(crate) json: bool,
    /// Listen at the admin socket, where every caller's records are heard
    #[arg(long)]
    pub(crate) admin: bool,
}
