//! How the daemon ends: an error with the exit status that names its kind.

use std::process::ExitCode;

/// The command line is wrong.
pub const USAGE: u8 = 64;
/// A journal cannot be repaired without a loss.
pub const DATA: u8 = 65;
/// The kernel or another service lacks something.
pub const UNAVAILABLE: u8 = 69;
/// A fault of the daemon itself.
pub const SOFTWARE: u8 = 70;
/// A file or directory could not be made.
pub const CANT_CREATE: u8 = 73;
/// Another instance runs; try later.
pub const TEMP_FAIL: u8 = 75;
/// The configuration or the policy is wrong.
pub const CONFIG: u8 = 78;

/// Why the daemon could not start or go on.
#[derive(Debug)]
pub struct Failure {
    /// One of the constants of this module, numbered as in `sysexits.h`.
    pub code: u8,
    /// What happened, with its chain of causes.
    pub error: anyhow::Error,
}

impl Failure {
    /// Puts the exit status to an error.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            code,
            error: error.into(),
        }
    }

    /// The status for the shell or the service manager.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// Gives an error the exit status that names its kind.
pub trait OrExit<T> {
    /// Turns the error into a [`Failure`] with `code`.
    fn or_exit(self, code: u8) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, code: u8) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(code, error))
    }
}
