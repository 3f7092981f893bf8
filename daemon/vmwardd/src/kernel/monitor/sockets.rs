//! On which sockets a QEMU takes orders.
//!
//! Read from its command line and its open sockets: libvirt hands it listening
//! sockets as descriptors, and what was added by hand names a path.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vmward_abi::{FileKey, monitor_kind};

use crate::executable;
use crate::process::ProcHandle;

/// The flag of a listening socket in `/proc/PID/net/unix`.
const LISTENS: &str = "00010000";
/// What libvirt calls the sockets that it binds.
const MONITOR_FILE: &str = "monitor.sock";
const AGENT_NAME: &str = "org.qemu.guest_agent";

/// What a QEMU takes orders on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel) struct Orders {
    /// Sockets that can be guarded, each with one of
    /// `vmward_abi::monitor_kind`.
    pub(in crate::kernel) sockets: Vec<(FileKey, u32)>,
    /// What cannot be guarded, each as the command line has it.
    pub(in crate::kernel) open: Vec<String>,
}

/// Looks at the process `pid`.
pub(in crate::kernel) fn find(pid: u32) -> Orders {
    let arguments = ProcHandle::open(pid)
        .and_then(|process| process.arguments())
        .unwrap_or_default();
    let listening = listening(pid);
    let mut paths: BTreeMap<String, u32> = BTreeMap::new();
    for path in listening.values() {
        let file = path.rsplit('/').next().unwrap_or_default();
        if file == MONITOR_FILE {
            paths.insert(path.clone(), monitor_kind::QMP);
        } else if file.starts_with(AGENT_NAME) {
            paths.insert(path.clone(), monitor_kind::AGENT);
        }
    }
    let mut open = Vec::new();
    for (place, kind) in places(&arguments) {
        let path = match place {
            Place::Path(path) => Some(path),
            Place::Descriptor(fd) => {
                socket_of(pid, &fd).and_then(|inode| listening.get(&inode).cloned())
            }
            Place::Elsewhere(what) => {
                open.push(what);
                None
            }
        };
        if let Some(path) = path {
            paths.entry(path).or_insert(kind);
        }
    }
    let mut sockets = Vec::new();
    for (path, kind) in paths {
        match file_key(Path::new(&path)) {
            Some(key) => sockets.push((key, kind)),
            None => open.push(path),
        }
    }
    Orders { sockets, open }
}

/// The file at `path`, as the kernel numbers it.
pub(in crate::kernel) fn file_key(path: &Path) -> Option<FileKey> {
    let (dev, inode) = executable::file_number(path)?;
    Some(FileKey { inode, dev, pad: 0 })
}

/// The listening Unix sockets of the process's network namespace that have a
/// path, by their number.
fn listening(pid: u32) -> BTreeMap<String, String> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let own = own_sockets(pid);
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (flags, inode, path) = (words.get(3)?, words.get(6)?, words.get(7)?);
            (*flags == LISTENS && path.starts_with('/') && own.iter().any(|socket| socket == inode))
                .then(|| ((*inode).to_owned(), (*path).to_owned()))
        })
        .collect()
}

fn own_sockets(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| socket_number(&entry.path()))
        .collect()
}

fn socket_of(pid: u32, fd: &str) -> Option<String> {
    socket_number(Path::new(&format!("/proc/{pid}/fd/{fd}")))
}

fn socket_number(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    let inner = target.to_str()?.strip_prefix("socket:[")?;
    Some(inner.strip_suffix(']')?.to_owned())
}

/// Where a character device listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Path(String),
    Descriptor(String),
    Elsewhere(String),
}

/// Every place that takes orders, by the command line, with its kind.
fn places(arguments: &[String]) -> Vec<(Place, u32)> {
    let devices: BTreeMap<&str, &str> = values(arguments, &["-chardev"])
        .filter_map(|value| Some((field(value, "id")?, value)))
        .collect();
    let device = |name: &str| devices.get(name).and_then(|value| chardev(value));
    let mut found = Vec::new();
    for value in values(arguments, &["-mon"]) {
        let name = field(value, "chardev").or_else(|| value.split(',').next());
        let kind = if value.contains("mode=control") {
            monitor_kind::QMP
        } else {
            monitor_kind::OTHER
        };
        // Only the one that libvirt made is libvirt's to use.
        let kind = if name == Some("charmonitor") {
            kind
        } else {
            monitor_kind::OTHER
        };
        found.extend(name.and_then(device).map(|place| (place, kind)));
    }
    for value in values(arguments, &["-qmp", "-qmp-pretty", "-monitor", "-gdb"]) {
        let place = match value.strip_prefix("chardev:") {
            Some(name) => device(name),
            None => legacy(value),
        };
        found.extend(place.map(|place| (place, monitor_kind::OTHER)));
    }
    if arguments.iter().any(|argument| argument == "-s") {
        found.push((Place::Elsewhere("-s".to_owned()), monitor_kind::OTHER));
    }
    for value in values(arguments, &["-device"]).filter(|value| value.contains(AGENT_NAME)) {
        let place = field(value, "chardev").and_then(device);
        found.extend(place.map(|place| (place, monitor_kind::AGENT)));
    }
    found
}

/// The values of the options called `names`.
fn values<'a>(arguments: &'a [String], names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    arguments.windows(2).filter_map(move |pair| match pair {
        [name, value]
            if names
                .iter()
                .any(|wanted| *wanted == name || name.strip_prefix('-') == Some(*wanted)) =>
        {
            Some(value.as_str())
        }
        _ => None,
    })
}

/// `name=value` of a comma list, or `"name":"value"` of JSON.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    if text.starts_with('{') {
        let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
        return rest.split('"').next();
    }
    text.split(',')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// Where a `-chardev` listens; `None` for one that is no socket.
fn chardev(value: &str) -> Option<Place> {
    if !value.starts_with("socket,") {
        return None;
    }
    if let Some(fd) = field(value, "fd") {
        return Some(Place::Descriptor(fd.to_owned()));
    }
    Some(match field(value, "path") {
        Some(path) if path.starts_with('/') && field(value, "abstract") != Some("on") => {
            Place::Path(path.to_owned())
        }
        _ => Place::Elsewhere(value.to_owned()),
    })
}

/// Where an option of the old form listens; `None` for what is no socket.
fn legacy(value: &str) -> Option<Place> {
    if let Some(rest) = value.strip_prefix("unix:") {
        let path = rest.split(',').next().unwrap_or_default();
        let path = path.strip_prefix("path=").unwrap_or(path);
        return Some(if path.starts_with('/') {
            Place::Path(path.to_owned())
        } else {
            Place::Elsewhere(value.to_owned())
        });
    }
    ["tcp:", "telnet:", "udp:", "websocket:"]
        .iter()
        .any(|form| value.starts_with(form))
        .then(|| Place::Elsewhere(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<(Place, u32)> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        places(&arguments)
    }

    #[test]
    fn libvirt_s_own_monitor_and_agent_are_found() {
        let found = of(
            "qemu -chardev socket,id=charmonitor,fd=24,server=on,wait=off \
             -mon chardev=charmonitor,id=monitor,mode=control \
             -chardev socket,id=charchannel0,fd=22,server=on,wait=off \
             -device {\"driver\":\"virtserialport\",\"chardev\":\"charchannel0\",\"name\":\"org.qemu.guest_agent.0\"}",
        );
        let fd = |number: &str| Place::Descriptor(number.to_owned());
        assert_eq!(
            found,
            [
                (fd("24"), monitor_kind::QMP),
                (fd("22"), monitor_kind::AGENT)
            ]
        );
    }

    #[test]
    fn what_was_added_by_hand_is_for_nobody() {
        let found = of(
            "qemu -qmp unix:/tmp/q,server=on,wait=off -monitor unix:/tmp/h,server -gdb unix:path=/tmp/g",
        );
        let paths: Vec<_> = ["/tmp/q", "/tmp/h", "/tmp/g"]
            .map(|path| (Place::Path(path.to_owned()), monitor_kind::OTHER))
            .into();
        assert_eq!(found, paths);
    }

    #[test]
    fn what_listens_on_the_network_is_told() {
        for line in [
            "qemu -qmp tcp:127.0.0.1:4444,server=on,wait=off",
            "qemu -gdb tcp::1234",
            "qemu -s",
            "qemu -chardev socket,id=m,host=localhost,port=4444,server=on -mon chardev=m,mode=control",
        ] {
            let found = of(line);
            assert!(
                matches!(found.as_slice(), [(Place::Elsewhere(_), _)]),
                "{line}: {found:?}"
            );
        }
        assert!(of("qemu -monitor stdio -serial tcp:h:1").is_empty());
    }
}
