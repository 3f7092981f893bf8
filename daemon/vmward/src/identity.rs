//! As whom to ask: the grant and the token that a caller presents.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use vmward_wire::v1::HelloParams;

/// Longest token file.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;
/// Where systemd puts the credentials of the unit that this process belongs to.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// For `authorize`, `run`, `mcp`, `wrap` and `status`.
#[derive(Debug, Default, Args)]
pub(crate) struct Identity {
    /// Ask as this grant of vmward.toml; it must be yours
    #[arg(long, global = true, value_name = "NAME", env = "VMWARD_GRANT")]
    grant: Option<String>,
    /// Present the token in this file, which nobody else may read
    #[arg(long, global = true, value_name = "PATH", env = "VMWARD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Identity {
    /// What to say first on a connection; reads the token anew each time.
    pub(crate) fn hello(&self, client: &str) -> anyhow::Result<HelloParams> {
        let token = self.token_file.as_deref().map(read_token).transpose()?;
        Ok(HelloParams {
            grant: self.grant.clone(),
            token,
            ..HelloParams::new(client)
        })
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let mut file =
        File::open(path).with_context(|| format!("Failed to open token file {shown}"))?;
    let mode = file
        .metadata()
        .with_context(|| format!("Failed to look at token file {shown}"))?
        .mode();
    if mode & 0o077 != 0 && !is_credential(path, mode) {
        bail!(
            "Token file {shown} has mode {:04o}, so others may use the token: chmod 600 {shown}; \
             if somebody may have read it, make a new one with `vmward token`",
            mode & 0o7777
        );
    }
    let mut text = String::new();
    file.by_ref()
        .take(TOKEN_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("Failed to read token file {shown}"))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        bail!("Token file {shown} must hold one token and nothing else");
    }
    Ok(token.to_owned())
}

/// systemd lets the unit's user read a credential through an access list, which
/// shows as a mode of 0440. Nobody else enters that directory.
fn is_credential(path: &Path, mode: u32) -> bool {
    matches!(mode & 0o777, 0o400 | 0o440)
        && std::env::var_os(CREDENTIALS)
            .is_some_and(|folder| !folder.is_empty() && path.parent() == Some(Path::new(&folder)))
}
