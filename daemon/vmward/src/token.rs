//! `vmward token`: a bearer token, shown once. The host keeps only its hash.

use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::json;
use vmward_core::grant::{TOKEN_BYTES, TokenHash, check_name, token};

use crate::{exit::Exit, text::print};

/// Prints the token on standard output and what to do with it on standard
/// error, so that the first can go into a file.
pub(crate) fn make(name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow!("Failed to get random bytes from the kernel: {error}"))?;
    let token = token(&random);
    let hash = TokenHash::of(&token);
    if json {
        let answer = json!({ "grant": name, "token": token, "token_sha256": hash.to_string() });
        print(&format!("{answer}\n"))?;
        return Ok(Exit::Done.into());
    }
    print(&format!("{token}\n"))?;
    eprint!(
        "\nThe token is shown this once. Keep it in a file that only the agent's user may read,\n\
         and name that file with --token-file or VMWARD_TOKEN_FILE. On the host, add to\n\
         /etc/vmward/vmward.toml and restart vmwardd:\n\n\
         [[grants]]\n\
         name = \"{name}\"\n\
         token-sha256 = \"{hash}\"\n"
    );
    Ok(Exit::Done.into())
}

/// Checks the name as the daemon will.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    check_name(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}
