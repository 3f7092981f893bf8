//! `vmward mcp` and `vmward wrap`: give the MCP side a runtime.

use std::{future::Future, io, process::ExitCode, time::Duration};

use anyhow::Context;
use vmward_mcp::{
    serve::{self, Server},
    virsh::Virsh,
    wrap,
};

use crate::{
    cli::{McpArgs, Socket, WrapArgs},
    exit::{self, Exit},
};

/// Serves MCP until the client leaves.
pub(crate) fn serve(socket: &Socket, args: McpArgs) -> anyhow::Result<ExitCode> {
    let server = Server {
        gate: socket.gate(args.approval_wait)?,
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
pub(crate) fn wrap(socket: &Socket, args: WrapArgs) -> anyhow::Result<ExitCode> {
    let mut server = args.server.into_iter();
    let program = server.next().context("no server given")?;
    let gate = socket.gate(args.approval_wait)?;
    let wrapped = wrap::wrap(gate, args.server_name, program, server.collect());
    let status = block_on(wrapped)??;
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
