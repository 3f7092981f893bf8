//! Options that contradict each other, or that the command would not heed.
//!
//! clap sees those that belong to one command; `--socket` belongs to all.

use std::path::Path;

use super::{
    Cli, Command,
    approvals::{ApprovalsCommand, EventsArgs},
    policy::{ExplainArgs, PolicyCommand},
};

/// What a command asks the daemon for, if it does.
enum Asks {
    /// It asks at the policy socket.
    Policy,
    /// It asks at the admin socket: the option or the command that says so.
    Admin(&'static str),
    /// It asks nobody: the command.
    Nobody(&'static str),
}

/// Says what is wrong with the arguments.
pub(super) fn check(cli: &Cli) -> Result<(), String> {
    let Some(socket) = &cli.socket else {
        return Ok(());
    };
    match asks(&cli.command) {
        Asks::Admin(what) if is_policy_socket(socket) => Err(format!(
            "{what} is for the admin socket, and --socket names the policy socket {}: name \
             admin.sock beside it, or leave --socket out for {}",
            socket.display(),
            vmward_wire::ADMIN_SOCKET,
        )),
        Asks::Nobody(what) => Err(format!(
            "{what} reads files and asks no daemon: --socket has no meaning for it"
        )),
        Asks::Policy | Asks::Admin(_) => Ok(()),
    }
}

/// Whether the command is for the admin socket.
pub(super) fn is_for_people(command: &Command) -> bool {
    matches!(asks(command), Asks::Admin(_))
}

fn asks(command: &Command) -> Asks {
    match command {
        Command::Approvals(ApprovalsCommand::Watch { .. }) => Asks::Admin("`approvals watch`"),
        Command::Approvals(_) => Asks::Admin("`approvals`"),
        Command::Disarm(_) => Asks::Admin("`disarm`"),
        Command::Arm(_) => Asks::Admin("`arm`"),
        Command::Events(EventsArgs { admin: true, .. }) => Asks::Admin("`events --admin`"),
        Command::Audit(_) => Asks::Nobody("`audit`"),
        Command::Token { .. } => Asks::Nobody("`token`"),
        Command::Policy(PolicyCommand::Explain(ExplainArgs {
            policy: Some(_), ..
        })) => Asks::Nobody("`policy explain --policy`"),
        Command::Policy(PolicyCommand::Explain(_))
        | Command::Status { .. }
        | Command::Authorize(_)
        | Command::Run(_)
        | Command::Mcp(_)
        | Command::Wrap(_)
        | Command::Events(_) => Asks::Policy,
        Command::Policy(_) => Asks::Nobody("`policy`, but for `explain`,"),
    }
}

/// The daemon's sockets have their names in whatever folder they are.
fn is_policy_socket(path: &Path) -> bool {
    let real = path.canonicalize();
    let real = real.as_deref().unwrap_or(path);
    real.file_name() == Path::new(vmward_wire::POLICY_SOCKET).file_name()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[track_caller]
    fn said(line: &str) -> Option<String> {
        let cli = Cli::try_parse_from(line.split(' ')).expect("clap takes it");
        check(&cli).err()
    }

    #[test]
    fn what_is_for_the_admin_socket_is_not_asked_at_the_policy_socket() {
        for line in [
            "events --admin",
            "approvals list",
            "approvals watch --json",
            "disarm --all --reason x",
            "arm --all",
        ] {
            for (path, wrong) in [
                ("/run/vmward/policy.sock", true),
                ("/srv/x/policy.sock", true),
                ("/srv/x/admin.sock", false),
                ("/srv/x/forwarded", false),
            ] {
                let said = said(&format!("vmward {line} --socket {path}"));
                assert_eq!(said.is_some(), wrong, "{line} {path}: {said:?}");
            }
            assert_eq!(said(&format!("vmward {line}")), None);
        }
        let told = said("vmward events --admin --socket /a/policy.sock").expect("refused");
        assert!(
            told.starts_with("`events --admin` is for the admin socket"),
            "{told}"
        );
        assert_eq!(said("vmward events --socket /a/policy.sock"), None);
    }

    #[test]
    fn another_name_for_the_policy_socket_is_no_way_around() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (
            folder.path().join("policy.sock"),
            folder.path().join("link"),
        );
        std::fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(is_policy_socket(&link));
    }

    #[test]
    fn what_asks_no_daemon_takes_no_socket() {
        for line in [
            "audit verify",
            "audit tail",
            "token ci",
            "policy check p.json",
            "policy diff a b",
            "policy explain --tool t --policy p.json",
        ] {
            assert!(
                said(&format!("vmward {line} --socket /s")).is_some(),
                "{line}"
            );
            assert_eq!(said(&format!("vmward {line}")), None);
        }
        assert_eq!(said("vmward policy explain --tool t --socket /s"), None);
    }
}
