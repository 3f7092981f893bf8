//! `vmward mcp` and `vmward wrap`: give the MCP side a runtime.

use std::{ffi::OsString, future::Future, io, process::ExitCode, time::Duration};

use anyhow::Context;
use vmward_mcp::{
    serve::{self, Server},
    virsh::Virsh,
    wrap,
};

use crate::{
    cli::{McpArgs, Socket},
    exit::{self, Exit},
};

/// Serves MCP until the client leaves.
pub(crate) fn serve(socket: &Socket, args: McpArgs) -> anyhow::Result<ExitCode> {
    let server = Server {
        gate: socket.gate()?,
        virsh: Virsh {
            program: args.virsh,
            uri: args.connect,
        },
        stop_timeout: Duration::from_secs(args.stop_timeout),
    };
    block_on(serve::serve(server))??;
    Ok(Exit::Done.into())
}

/// Runs the server behind the policy and returns its exit status.
pub(crate) fn wrap(socket: &Socket, server: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let mut server = server.into_iter();
    let program = server.next().context("no server given")?;
    let status = block_on(wrap::wrap(socket.gate()?, program, server.collect()))??;
    Ok(exit::of_command(status))
}

/// Runs to the end. What still blocks then, a read of standard input, must not
/// keep the process alive.
fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(output)
}
