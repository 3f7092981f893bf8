//! What to do about a socket that this user may not use.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// A group's right to connect, which is to write.
const GROUP_WRITE: u32 = 0o020;

/// Who may use the socket, and how to become one of them.
pub(super) fn for_socket(path: &Path) -> String {
    let Ok(socket) = fs::metadata(path) else {
        return "add your user to the group vmward (`usermod -aG vmward USER`), or to the one that \
                `socket-group` in vmward.toml names, and log in again, or run as root"
            .to_owned();
    };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    for_group(socket.mode(), socket.gid(), &groups)
}

/// `groups`: as in `/etc/group`.
fn for_group(mode: u32, gid: u32, groups: &str) -> String {
    if gid == 0 || mode & GROUP_WRITE == 0 {
        return "it is for root alone: run the command as root, for instance with sudo".to_owned();
    }
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(gid)).then(|| name.to_owned())
    });
    let name = name.unwrap_or_else(|| format!("#{gid}"));
    format!(
        "add your user to the group {name} (`usermod -aG {name} USER`) and log in again, or run as \
         root"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_sockets_own_group_and_none_where_none_may() {
        let groups = "root:x:0:\nvmward:x:990:\nagents:x:1500:ann\n";
        let told = for_group(0o140_660, 1500, groups);
        assert!(told.contains("`usermod -aG agents USER`"), "{told}");
        for (mode, gid) in [(0o140_600, 990), (0o140_660, 0)] {
            let told = for_group(mode, gid, groups);
            assert!(!told.contains("usermod") && told.contains("sudo"), "{told}");
        }
    }

    #[test]
    fn a_socket_that_cannot_be_looked_at_is_said_to_be_roots_or_the_groups() {
        let told = for_socket(Path::new("/nowhere/policy.sock"));
        assert!(told.contains("socket-group"), "{told}");
    }
}
