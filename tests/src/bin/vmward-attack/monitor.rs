//! Reaching for a monitor's socket oneself.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::unistd::{Uid, setresuid};

use super::{Failed, number, usage};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // PATH
        ["connect", path] => Ok(UnixStream::connect(path).map(drop)?),
        // UID PATH
        ["connect-as", rest @ ..] => {
            let uid = Uid::from_raw(number(rest, 0)?);
            setresuid(uid, uid, uid)?;
            match rest {
                [_, path] => Ok(UnixStream::connect(path).map(drop)?),
                _ => usage("monitor connect-as UID PATH"),
            }
        }
        // PATH
        ["quit", path] => quit(path),
        _ => usage("monitor: connect PATH | connect-as UID PATH | quit PATH"),
    }
}

/// Speaks to a QEMU that serves this client: ends it.
fn quit(path: &str) -> Result<(), Failed> {
    let mut monitor = UnixStream::connect(path)?;
    monitor.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut answers = BufReader::new(monitor.try_clone()?);
    let mut line = String::new();
    answers.read_line(&mut line)?;
    for command in ["qmp_capabilities", "quit"] {
        writeln!(monitor, "{{\"execute\":\"{command}\"}}")?;
        answers.read_line(&mut line)?;
    }
    Ok(())
}
