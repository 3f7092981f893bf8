//! Processes for tests to look at.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use vmward_core::ids::Process;

use super::identify;

/// A process that ends with its input.
pub(crate) fn child() -> (Child, Process) {
    let mut command = Command::new("cat");
    let child = command.stdin(Stdio::piped()).spawn().unwrap();
    let process = identify(child.id()).unwrap();
    (child, process)
}

/// Runs a program that prints something once it is as the test wants it, and then ends
/// with its input.
pub(crate) fn prepared(command: &mut Command) -> Child {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let printed = child.stdout.as_mut().unwrap();
    printed.read_exact(&mut [0]).unwrap();
    child
}

/// Ends a process and waits for it.
pub(crate) fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
