//! Exit statuses, as `vmward --help` documents them.

use std::process::ExitCode;

use vmward_wire::client::ClientError;

/// The part of `--help` that scripts rely on.
pub(crate) const HELP: &str = "\
Exit status:
  0  done; for `authorize`: allowed
  1  failed
  2  wrong usage
  3  denied by the policy, or not allowed yet: `pending` waits for a person
  4  vmwardd cannot be reached
  5  the audit log's chain is broken
  6  for `policy diff`: the policies differ
`vmward run` and `vmward wrap` return the status of the command that they ran,
128 + N when signal N ended it; `run` returns 126 or 127 when it could not start, and asks
for nothing where it sees that beforehand.";

/// How `vmward` itself ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Denied = 3,
    Unreachable = 4,
    ChainBroken = 5,
    Differs = 6,
}

impl Exit {
    /// The status for an error that ended a command.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<ClientError>() {
            Some(error) if error.is_unreachable() => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The status with which a shell would report how a command ended.
pub(crate) fn of_command(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let number = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}
