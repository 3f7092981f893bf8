//! The command line: types only.

use std::path::PathBuf;

use clap::Parser;

/// Where the configuration is, unless `--config` says otherwise.
pub const CONFIG_DEFAULT: &str = "/etc/vmward/vmward.toml";

/// The vmward daemon: asks libvirt which VMs run, protects them in the kernel
/// and answers on the policy socket.
#[derive(Clone, Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(name = "vmwardd", version, after_help = EXIT_STATUS)]
pub struct Cli {
    /// The configuration file; without this flag
    /// /etc/vmward/vmward.toml is read where it exists.
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Run without the kernel side: nothing is refused at the host, only the
    /// policy socket answers.
    #[arg(long)]
    pub policy_only: bool,
    /// Check the configuration and the policy, then exit.
    #[arg(long)]
    pub check: bool,
    /// Take the kernel side out of force: remove every pin, then exit. Nothing
    /// is refused any more until vmwardd starts again.
    #[arg(long, conflicts_with_all = ["check", "policy_only"])]
    pub detach: bool,
    /// Put a journal aside that cannot be gone on with, and begin an empty one:
    /// every limit starts anew. It goes on record. For a daemon that is stopped.
    #[arg(long, conflicts_with_all = ["check", "policy_only", "detach"])]
    pub new_journal: bool,
    /// Repair a journal that cannot be gone on with: every line that is whole goes on,
    /// what the audit log has is charged again, what nothing proves to be open is
    /// closed. The damaged file stays beside it, and it goes on record. For a daemon
    /// that is stopped.
    #[arg(long, conflicts_with_all = ["check", "policy_only", "detach", "new_journal"])]
    pub repair_journal: bool,
    /// Only tell what --repair-journal would do.
    #[arg(long, requires = "repair_journal")]
    pub dry_run: bool,
    /// Repair the journal also where a charge may be lost, which then goes on record.
    #[arg(long, requires = "repair_journal")]
    pub accept_loss: bool,
    /// Play the victim of the self-test; vmwardd starts this itself.
    #[arg(long, value_name = "DIR", hide = true)]
    pub canary: Option<PathBuf>,
}

const EXIT_STATUS: &str = "\
Exit status:
   0  stopped as asked; --check found nothing wrong; the journal was repaired
  64  wrong usage
  65  --repair-journal: a charge may be lost, and --accept-loss was not given
  69  the kernel lacks something, or its self-test failed
  70  a fault in vmwardd itself
  73  a directory, lock or file could not be made
  75  another vmwardd runs already
  78  the configuration or the policy is wrong

Signals: TERM and INT stop the daemon and leave the kernel side in force;
HUP reads the policy again, as a change of its file does by itself. The
configuration, its grants included, is read at start only.";
