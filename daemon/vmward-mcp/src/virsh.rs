//! libvirt through `virsh`: no shell, fixed language, a deadline each.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

/// How long a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a command may take; `destroy` alone gives QEMU more than 10 s.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(45);

/// What libvirt calls a domain without process.
pub const SHUT_OFF: &str = "shut off";

/// Why libvirt did not do it.
#[derive(Debug, thiserror::Error)]
pub enum VirshError {
    /// No such program, most likely.
    #[error("Failed to run {program}: install the package libvirt-clients", program = program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// virsh hangs.
    #[error("`virsh {command}` did not end within {} s", after.as_secs())]
    TimedOut {
        /// The command.
        command: String,
        /// The deadline.
        after: Duration,
    },
    /// virsh says no.
    #[error("`virsh {command}` failed: {message}")]
    Failed {
        /// The command.
        command: String,
        /// What it wrote to standard error.
        message: String,
    },
    /// libvirt knows no such domain.
    #[error("No VM {identifier:?} on this host")]
    NotFound {
        /// Name or UUID.
        identifier: String,
    },
}

/// A domain's name or UUID that `virsh` cannot take for anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier(String);

impl Identifier {
    /// Refuses what could be an option or break a line of the log.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "" => Err("the identifier is empty"),
            _ if text.len() > 255 => Err("the identifier is longer than 255 bytes"),
            _ if text.starts_with('-') => Err("the identifier starts with `-`"),
            _ if text.chars().any(char::is_control) => {
                Err("the identifier contains a control character")
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The identity.
    pub uuid: String,
    /// For people.
    pub name: String,
}

/// How to reach libvirt.
#[derive(Clone, Debug)]
pub struct Virsh {
    /// The program.
    pub program: PathBuf,
    /// The connection URI.
    pub uri: String,
}

impl Virsh {
    /// The domain behind a name or UUID. virsh would also take a numeric
    /// domain id; an id that is nobody's name is refused, because the policy
    /// was asked about a name.
    pub async fn resolve(&self, identifier: &Identifier) -> Result<Domain, VirshError> {
        let identifier = identifier.as_str();
        let uuid = self
            .query(&["domuuid", "--domain", identifier])
            .await?
            .trim()
            .to_owned();
        let name = self
            .query(&["domname", "--domain", &uuid])
            .await?
            .trim()
            .to_owned();
        if name == identifier || uuid.eq_ignore_ascii_case(identifier) {
            Ok(Domain { uuid, name })
        } else {
            Err(VirshError::NotFound {
                identifier: identifier.to_owned(),
            })
        }
    }

    /// The state in libvirt's words. A domain that is gone is shut off: a
    /// transient one ceases to exist with its process.
    pub async fn state(&self, uuid: &str) -> Result<String, VirshError> {
        match self.query(&["domstate", "--domain", uuid]).await {
            Ok(state) => Ok(state.trim().to_owned()),
            Err(VirshError::NotFound { identifier }) => {
                // virsh says so too when it lost its connection half-way; only
                // a list without the domain proves that it is gone.
                let known = self.query(&["list", "--all", "--uuid"]).await?;
                if known.split_whitespace().any(|one| one == uuid) {
                    Err(VirshError::NotFound { identifier })
                } else {
                    Ok(SHUT_OFF.to_owned())
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Every domain with its state.
    pub async fn list(&self) -> Result<Vec<(Domain, String)>, VirshError> {
        const NAMES: &[&str] = &["list", "--all", "--uuid", "--name"];
        const STATES: [(&str, &str); 3] = [
            ("running", "--state-running"),
            ("paused", "--state-paused"),
            (SHUT_OFF, "--state-shutoff"),
        ];
        let mut states = Vec::new();
        for (state, option) in STATES {
            let uuids = self.query(&["list", "--uuid", option]).await?;
            states.extend(
                uuids
                    .split_whitespace()
                    .map(|uuid| (uuid.to_owned(), state)),
            );
        }
        let names = self.query(NAMES).await?;
        let domains = names.lines().filter_map(|line| line.trim().split_once(' '));
        Ok(domains
            .map(|(uuid, name)| {
                let state = states.iter().find(|(of, _)| of == uuid);
                let state = state.map_or("other", |(_, state)| state).to_owned();
                let name = name.trim().to_owned();
                (
                    Domain {
                        uuid: uuid.to_owned(),
                        name,
                    },
                    state,
                )
            })
            .collect())
    }

    /// Does something to a domain: `start`, `shutdown`, `destroy`.
    pub async fn command(&self, verb: &str, uuid: &str) -> Result<(), VirshError> {
        self.run(&[verb, "--domain", uuid], COMMAND_TIMEOUT)
            .await
            .map(drop)
    }

    async fn query(&self, arguments: &[&str]) -> Result<String, VirshError> {
        self.run(arguments, QUERY_TIMEOUT).await
    }

    async fn run(&self, arguments: &[&str], after: Duration) -> Result<String, VirshError> {
        let command = arguments.join(" ");
        let running = Command::new(&self.program)
            .args(["--quiet", "--connect", &self.uri])
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(after, running).await {
            Ok(Ok(output)) => output,
            Ok(Err(source)) => {
                return Err(VirshError::Spawn {
                    program: self.program.clone(),
                    source,
                });
            }
            Err(_elapsed) => return Err(VirshError::TimedOut { command, after }),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        if message.contains("Domain not found") || message.contains("failed to get domain") {
            let identifier = arguments.last().copied().unwrap_or_default().to_owned();
            return Err(VirshError::NotFound { identifier });
        }
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(VirshError::Failed { command, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_that_virsh_could_misread_is_refused() {
        for text in ["", "--all", "-c", "web\n1", "web\0", &"x".repeat(256)] {
            Identifier::parse(text).expect_err(text);
        }
        assert_eq!(Identifier::parse("web 1;ü").unwrap().as_str(), "web 1;ü");
    }
}
