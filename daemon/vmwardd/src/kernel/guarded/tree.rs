//! What lies in a folder and below it, on the same mount: what somebody mounts or
//! links there is somewhere else, and not the folder's.

use std::ffi::{CStr, CString};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, openat};

use crate::executable::{self, Entry};

/// Folders in folders that are looked into.
const DEPTH_MAX: u32 = 8;
/// So many are looked at for each that may be found: those that are not wanted take
/// time, too.
const SEEN_FOR_ONE: usize = 4;

/// Device and inode of `root` itself: of the symbolic link that it may be, too.
pub(super) fn root(root: &Path) -> Vec<(u32, u64)> {
    let itself = executable::link_number(root);
    let target = executable::file_number(root).filter(|target| Some(*target) != itself);
    itself.into_iter().chain(target).collect()
}

/// What a walk has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Device and inode of each.
    pub(super) numbers: Vec<(u32, u64)>,
    /// There may be more.
    pub(super) is_cut: bool,
}

/// At most `max` of what is below `root` and `is_wanted`, a folder's own files before
/// those of the folders in it.
pub(super) fn below(root: &Path, max: usize, is_wanted: &dyn Fn(&CStr, &Entry) -> bool) -> Found {
    let mut walk = Walk {
        found: Found::default(),
        seen: 0,
        max,
        is_wanted,
    };
    if let Some(root) = Entry::at(root)
        && root.is_folder()
    {
        walk.folder(&root, DEPTH_MAX);
    }
    walk.found
}

/// The names in a folder.
pub(in crate::kernel) fn names(folder: &Entry) -> impl Iterator<Item = CString> + use<> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(folder, c".", flags, Mode::empty()).and_then(Dir::new);
    let names = dir.into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| ![c".", c".."].contains(&name.as_c_str()))
}

/// What a folder itself holds.
fn entries(folder: &Entry) -> impl Iterator<Item = (CString, Entry)> {
    names(folder).filter_map(move |name| Entry::of(folder, &name).map(|entry| (name, entry)))
}

struct Walk<'a> {
    found: Found,
    seen: usize,
    max: usize,
    is_wanted: &'a dyn Fn(&CStr, &Entry) -> bool,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Entry, depth: u32) {
        let mut below = Vec::new();
        for (name, entry) in entries(folder) {
            self.seen += 1;
            let is_full = self.found.numbers.len() == self.max;
            if is_full || self.seen > self.max.saturating_mul(SEEN_FOR_ONE) {
                self.found.is_cut = true;
                return;
            }
            if !(self.is_wanted)(&name, &entry) {
                continue;
            }
            self.found.numbers.push(entry.number);
            if entry.is_folder() {
                below.push(name);
            }
        }
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        for name in below {
            let entry = Entry::of(folder, &name);
            if let Some(entry) = entry.filter(Entry::is_folder) {
                self.folder(&entry, depth);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn all(_: &CStr, _: &Entry) -> bool {
        true
    }

    fn number(path: &Path) -> (u32, u64) {
        executable::link_number(path).unwrap()
    }

    #[test]
    fn what_is_below_a_folder_is_found_and_not_what_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("theirs"), "").unwrap();
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "").unwrap();
        symlink(elsewhere.path(), at("link")).unwrap();
        let mut found = below(dir.path(), 9, &all).numbers;
        found.sort_unstable();
        let mut expected = ["a", "a/b", "a/b/file", "link"].map(|name| number(&at(name)));
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_walk_stays_on_the_mount_that_it_began_on() {
        let mut walk = Walk {
            found: Found::default(),
            seen: 0,
            max: 10_000,
            is_wanted: &all,
        };
        walk.folder(&Entry::at(Path::new("/")).unwrap(), 0);
        assert!(walk.found.numbers.contains(&number(Path::new("/etc"))));
        assert!(!walk.found.numbers.contains(&number(Path::new("/proc"))));
    }

    #[test]
    fn a_walk_is_bounded_in_depth_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut deepest = dir.path().to_owned();
        for _ in 0..20 {
            deepest.push("d");
        }
        fs::create_dir_all(&deepest).unwrap();
        let check = |max, is_wanted: bool, expected| {
            let found = below(dir.path(), max, &|_, _| is_wanted);
            assert_eq!((found.numbers.len(), found.is_cut), expected, "{max}");
        };
        check(100, true, (9, false));
        for name in ["1", "2", "3", "4"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        check(13, true, (13, false));
        check(2, true, (2, true));
        check(2, false, (0, false));
        check(1, false, (0, true));
    }

    #[test]
    fn a_root_that_is_a_link_is_guarded_with_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("file"), "").unwrap();
        symlink(&real, &link).unwrap();
        assert_eq!(root(&link), [number(&link), number(&real)]);
        assert_eq!(root(&real), [number(&real)]);
        assert_eq!(below(&link, 9, &all).numbers, [number(&real.join("file"))]);
        assert_eq!(root(&dir.path().join("none")), []);
    }
}
