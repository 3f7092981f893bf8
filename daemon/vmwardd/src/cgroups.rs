//! Where the threads of a VM sit: in which cgroup of which hierarchy, by `/proc`
//! and the mounted hierarchies; and how they are brought back there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vmward_abi::CgroupKey;

/// One thread's place in one hierarchy: a line of `/proc/PID/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// Number of the hierarchy: 0 for version 2.
    pub hierarchy: u32,
    /// What the hierarchy controls; empty for version 2.
    pub controllers: String,
    /// The cgroup, below the top.
    pub path: String,
}

/// The places of all threads of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seats {
    threads: BTreeMap<u32, Vec<Seat>>,
}

/// The mounted hierarchies.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// What each controls, by names joined as in `/proc/PID/cgroup`, and where it
    /// is mounted.
    places: Vec<(BTreeSet<String>, PathBuf)>,
}

/// The places of the threads of `pid`.
///
/// # Errors
/// When the process is gone.
pub fn seats_of(pid: u32) -> io::Result<Seats> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(path.join("cgroup")) else {
            continue;
        };
        let tid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let Some(tid) = tid {
            threads.insert(tid, text.lines().filter_map(seat).collect());
        }
    }
    if threads.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Seats { threads })
}

fn seat(line: &str) -> Option<Seat> {
    let mut words = line.splitn(3, ':');
    let hierarchy = words.next()?.parse().ok()?;
    let controllers = words.next()?.to_owned();
    let path = words.next()?;
    Some(Seat {
        hierarchy,
        controllers,
        path: path.strip_suffix(" (deleted)").unwrap_or(path).to_owned(),
    })
}

impl Mounts {
    /// What is mounted now, whole and not a part of it.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn read() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self {
            places: text.lines().filter_map(mount).collect(),
        })
    }

    /// The folder of a cgroup.
    pub fn folder(&self, seat: &Seat) -> Option<PathBuf> {
        let wanted = names(&seat.controllers);
        let (_, place) = self.places.iter().find(|(what, _)| *what == wanted)?;
        Some(place.join(seat.path.trim_start_matches('/')))
    }
}

fn names(controllers: &str) -> BTreeSet<String> {
    let names = controllers.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// A line of `mountinfo`: `ID PARENT DEV ROOT PLACE OPTIONS... - TYPE SOURCE SUPER`.
fn mount(line: &str) -> Option<(BTreeSet<String>, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, place) = (left.next()?, left.next()?);
    if root != "/" {
        return None;
    }
    let mut right = right.split(' ');
    let controllers = match right.next()? {
        "cgroup2" => BTreeSet::new(),
        "cgroup" => {
            let known = |word: &&str| !matches!(*word, "rw" | "ro" | "xattr" | "clone_children");
            let options = right.nth(1)?.split(',').filter(known);
            options
                .filter(|word| !word.starts_with("release_agent="))
                .map(str::to_owned)
                .collect()
        }
        _ => return None,
    };
    Some((controllers, PathBuf::from(place)))
}

impl Seats {
    /// A thread's place in the hierarchy of version 2.
    pub fn unified(&self, tid: u32) -> Option<&Seat> {
        let seats = self.threads.get(&tid)?;
        seats.iter().find(|seat| seat.controllers.is_empty())
    }

    /// Every cgroup at or above these places, and whether it is the VM's own.
    pub fn keys(&self, mounts: &Mounts) -> BTreeMap<CgroupKey, bool> {
        let mut keys = BTreeMap::new();
        let distinct: BTreeSet<&Seat> = self.threads.values().flatten().collect();
        for seat in distinct {
            let Some(folder) = mounts.folder(seat) else {
                continue;
            };
            let depth = seat.path.split('/').filter(|name| !name.is_empty()).count();
            let domain = domain(&folder, depth);
            let mut holds = true;
            for (level, folder) in folder.ancestors().take(depth + 1).enumerate().skip(domain) {
                // What is not there any more has no files to write to.
                if let Ok(meta) = fs::metadata(folder) {
                    let key = CgroupKey {
                        id: meta.ino(),
                        hierarchy: seat.hierarchy,
                        pad: 0,
                    };
                    *keys.entry(key).or_insert(false) |= holds && level < depth;
                }
                holds = false;
            }
        }
        keys
    }

    /// Puts every thread of `pid` that is elsewhere back to its place here. A
    /// thread that was not there before follows the process.
    ///
    /// # Errors
    /// The first that was met; the others are tried all the same.
    pub fn bring_back(&self, pid: u32, mounts: &Mounts) -> io::Result<()> {
        let now = seats_of(pid)?;
        let mut result = Ok(());
        let Some(homes) = self.threads.get(&pid) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        for seat in now.threads.get(&pid).into_iter().flatten() {
            let home = homes
                .iter()
                .find(|home| home.controllers == seat.controllers);
            let top = Seat {
                path: "/".to_owned(),
                ..seat.clone()
            };
            // A hierarchy that was not there before has all processes at its top.
            let home = home.unwrap_or(&top);
            let moved = self.moved(&now, &home.controllers);
            if !moved {
                continue;
            }
            result = result.and(self.return_to(pid, home, mounts));
        }
        result
    }

    /// Is a thread elsewhere in this hierarchy?
    fn moved(&self, now: &Seats, controllers: &str) -> bool {
        now.threads.iter().any(|(tid, seats)| {
            let Some(known) = self.threads.get(tid) else {
                return false;
            };
            let seat = seats.iter().find(|seat| seat.controllers == controllers);
            let before = known.iter().find(|seat| seat.controllers == controllers);
            let path = before.map_or("/", |seat| &seat.path);
            seat.is_some_and(|seat| seat.path != path)
        })
    }

    fn return_to(&self, pid: u32, home: &Seat, mounts: &Mounts) -> io::Result<()> {
        let mounted;
        let folder = if let Some(folder) = mounts.folder(home) {
            folder
        } else {
            mounted = Borrowed::mount(&home.controllers)?;
            mounted.0.join(home.path.trim_start_matches('/'))
        };
        let depth = home.path.split('/').filter(|name| !name.is_empty()).count();
        let top = folder.ancestors().nth(domain(&folder, depth));
        put(top.unwrap_or(&folder), "cgroup.procs", pid)?;
        let threads = if home.controllers.is_empty() {
            "cgroup.threads"
        } else {
            "tasks"
        };
        for (tid, seats) in &self.threads {
            let seat = seats
                .iter()
                .find(|seat| seat.controllers == home.controllers);
            let Some(own) = seat.and_then(|seat| mounts.folder(seat)) else {
                continue;
            };
            if Some(own.as_path()) != top {
                match put(&own, threads, *tid) {
                    // A thread that has ended needs no place.
                    Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }
}

/// Writes a number into a file of a cgroup, which is made again where somebody
/// removed it.
fn put(folder: &Path, file: &str, number: u32) -> io::Result<()> {
    let path = folder.join(file);
    match fs::write(&path, number.to_string()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            fs::write(&path, number.to_string())
        }
        other => other,
    }
}

/// How many levels above a cgroup its threads may be spread over the cgroups
/// below: 0 unless it is threaded.
fn domain(folder: &Path, depth: usize) -> usize {
    let threaded = |folder: &&Path| {
        fs::read_to_string(folder.join("cgroup.type")).is_ok_and(|text| text.trim() == "threaded")
    };
    folder.ancestors().take(depth).take_while(threaded).count()
}

/// A hierarchy of version 1 that is mounted nowhere the daemon sees, for as long
/// as it takes to bring a VM back.
struct Borrowed(PathBuf);

impl Borrowed {
    fn mount(controllers: &str) -> io::Result<Self> {
        let place = PathBuf::from(format!("/run/vmward/cgroup-{}", std::process::id()));
        fs::create_dir_all(&place)?;
        nix::mount::mount(
            Some("cgroup"),
            &place,
            Some("cgroup"),
            nix::mount::MsFlags::empty(),
            Some(controllers),
        )?;
        Ok(Self(place))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Err(error) = nix::mount::umount(&self.0).map_err(io::Error::from) {
            tracing::warn!(place = %self.0.display(), %error, "cannot unmount a cgroup hierarchy");
        }
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::warn!(place = %self.0.display(), %error, "cannot remove a folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_names_hierarchy_controllers_and_path() {
        let seat = seat("4:cpu,cpuacct:/machine/vm (deleted)").expect("a line");
        assert_eq!(seat.hierarchy, 4);
        assert_eq!(seat.controllers, "cpu,cpuacct");
        assert_eq!(seat.path, "/machine/vm");
    }

    #[test]
    fn a_hierarchy_is_found_by_what_it_controls_and_a_part_of_it_is_not_taken() {
        let text = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\
                    31 24 0:27 /part /part rw - cgroup none rw,freezer\n\
                    32 24 0:28 / /whole rw - cgroup none rw,cpu,cpuacct,release_agent=/x";
        let mounts = Mounts {
            places: text.lines().filter_map(mount).collect(),
        };
        let folder = |line| mounts.folder(&seat(line).expect("a line"));
        assert_eq!(folder("0::/a/b"), Some("/sys/fs/cgroup/a/b".into()));
        assert_eq!(folder("5:cpuacct,cpu:/"), Some("/whole/".into()));
        assert_eq!(folder("6:freezer:/a"), None);
    }
}
