//! The arguments of `vmward policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use vmward_core::clock;

use super::call::CallArgs;

/// The policy that the daemon reads.
const POLICY: &str = "/etc/vmward/policy.json";

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read a policy and show every mistake in it, and what is worth a second look
    Check {
        /// The policy
        #[arg(value_name = "FILE", default_value = POLICY)]
        file: PathBuf,
        /// Fail on what is only worth a second look, too
        #[arg(long)]
        strict: bool,
        /// Print mistakes and warnings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what each rule says about a call; asks the daemon, or reads a policy with --policy
    Explain(ExplainArgs),
    /// Run the cases of a file against a policy
    Test {
        /// The cases, as JSON: see `vmward policy test --example`
        #[arg(value_name = "CASES", required_unless_present = "example")]
        cases: Option<PathBuf>,
        /// The policy; the file may name one of its own
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// The daemon's configuration, for its [approvals]; the installed one where absent
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print an example of a file of cases
        #[arg(long, conflicts_with_all = ["cases", "policy", "config", "json"])]
        example: bool,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Replay the decisions of an audit log against a policy and show what would change
    Simulate {
        /// The policy to try
        #[arg(value_name = "FILE")]
        policy: PathBuf,
        /// The log; a rotated one may be given, too. One that was compressed is read from
        /// standard input: zcat FILE | vmward policy simulate ... --log /dev/stdin
        #[arg(long, value_name = "PATH", default_value = vmward_wire::AUDIT_LOG)]
        log: PathBuf,
        /// Tell only of decisions from this instant on, such as 2026-11-23T00:00:00Z; those
        /// before it fill the counters
        #[arg(long, value_name = "TIME", value_parser = parse_instant)]
        since: Option<String>,
        /// The daemon's configuration, for its [approvals]; the installed one where absent
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare two policies by what they let happen, not by their text; exit status 6
    /// where they differ
    Diff {
        /// The policy as it is
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The policy as it is to be
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// Print the differences as JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn the YAML policy of the Intercept gateway into a policy
    Import {
        /// The YAML policy
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where to write the policy; standard output where absent
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print the policy, and what is to be said of it, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of policies, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) call: CallArgs,
    /// Why, for rules that want to know
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Judge by this policy, on its own, instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// With --policy: the daemon's configuration, for its [approvals]; the installed
    /// one where absent
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub(crate) config: Option<PathBuf>,
    /// With --policy: the caller's grant, such as uid:1000, which says the user as well;
    /// uid:0 where absent
    #[arg(long, requires = "policy")]
    pub(crate) grant: Option<String>,
    /// With --policy: when, such as 2026-11-23T09:30:00Z; a Monday at noon, universal
    /// time, where absent
    #[arg(long, value_name = "TIME", requires = "policy", value_parser = parse_instant)]
    pub(crate) when: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An instant as it is written, where it is one.
fn parse_instant(text: &str) -> Result<String, String> {
    match clock::parse_rfc3339(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("one looks like 2026-11-23T09:30:00Z".to_owned()),
    }
}
