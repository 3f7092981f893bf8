//! What the files and disks of a process lie on, and what is below that: the file of a
//! loop device, what a device of the device mapper or an array is made of. Whoever
//! freezes a file system there freezes what lies on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use procfs::process::{FDTarget, Process};

use super::ProcHandle;
use crate::executable::{self, kernel_dev};

/// The kernel's list of block devices, by number.
const BLOCK_DEVICES: &str = "/sys/dev/block";
/// Most devices that are looked through for one process.
const DEVICES_MAX: usize = 256;
const INIT: i32 = 1;

impl ProcHandle {
    /// The devices of the file systems on which it has files open and those of the
    /// disks that it has open, with all that lies below them on `host`, as the kernel
    /// numbers them.
    pub fn storage(&self, host: &HostStorage) -> BTreeSet<u32> {
        let mounts = self.process.mountinfo().map(executable::devices);
        let mounts = mounts.unwrap_or_default();
        let mut devices = BTreeSet::new();
        for file in self.process.fd().into_iter().flatten().flatten() {
            let FDTarget::Path(path) = &file.target else {
                continue;
            };
            devices.extend(self.file_system(file.fd, &mounts));
            // Others could be on a server that does not answer.
            if path.starts_with("/dev") {
                devices.extend(self.disk(file.fd));
            }
        }
        host.all_below(devices)
    }

    /// That of an open file, where `mounts` are the process's own.
    fn file_system(&self, fd: i32, mounts: &BTreeMap<u64, u32>) -> Option<u32> {
        let info = self.read_small(&format!("fdinfo/{fd}"))?;
        let mount = executable::field(&info, "mnt_id:")?;
        // libvirt hands files over that it has opened outside.
        let inside = mounts.get(&mount).copied();
        inside.or_else(|| executable::device_of_mount(mount))
    }

    /// The disk that an open file is, where it is one.
    fn disk(&self, fd: i32) -> Option<u32> {
        // The link leads to the very file, whatever its name is by now.
        let meta = fs::metadata(format!("/proc/{}/fd/{fd}", self.process.pid)).ok()?;
        if !meta.file_type().is_block_device() {
            return None;
        }
        let number = meta.rdev();
        kernel_dev(libc::major(number), libc::minor(number))
    }
}

/// Where devices are listed, and what is mounted where.
pub struct HostStorage {
    block: PathBuf,
    /// Later ones cover earlier ones.
    mounts: Vec<(PathBuf, u32)>,
}

impl HostStorage {
    /// This host, with the mounts of its first process.
    pub fn look() -> Self {
        let mounts = Process::new(INIT).and_then(|init| init.mountinfo());
        let mounts = mounts.into_iter().flatten();
        let mounts = mounts.filter_map(|mount| {
            let device = executable::device(&mount)?;
            Some((mount.mount_point, device))
        });
        Self {
            block: BLOCK_DEVICES.into(),
            mounts: mounts.collect(),
        }
    }

    /// `devices`, as the kernel numbers them, and those of all file systems and disks
    /// that they lie on. What cannot be read lies on nothing.
    fn all_below(&self, devices: BTreeSet<u32>) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        let mut open: Vec<u32> = devices.into_iter().collect();
        while let Some(device) = open.pop() {
            if all.len() < DEVICES_MAX && all.insert(device) {
                open.extend(self.directly_below(device));
            }
        }
        all
    }

    fn directly_below(&self, device: u32) -> Vec<u32> {
        let number = format!("{}:{}", device >> 20, device & ((1 << 20) - 1));
        let folder = self.block.join(number);
        let file = backing_file(&folder).and_then(|file| self.file_system_of(&file));
        let slaves = fs::read_dir(folder.join("slaves")).into_iter().flatten();
        let slaves = slaves.filter_map(|slave| number_in(&slave.ok()?.path().join("dev")));
        // A partition has its disk's folder around it.
        let disk = folder.join("partition").exists();
        let disk = disk.then(|| number_in(&folder.join("../dev"))).flatten();
        file.into_iter().chain(slaves).chain(disk).collect()
    }

    /// By its name alone: the file may be on a server that does not answer.
    fn file_system_of(&self, file: &Path) -> Option<u32> {
        let around = self.mounts.iter();
        let around = around.filter(|(point, _)| file.starts_with(point));
        let nearest = around.max_by_key(|(point, _)| point.components().count());
        nearest.map(|(_, device)| *device)
    }
}

fn backing_file(folder: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(folder.join("loop/backing_file")).ok()?;
    Some(PathBuf::from(text.strip_suffix('\n')?))
}

/// `major:minor`
fn number_in(file: &Path) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    kernel_dev(major.parse().ok()?, minor.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::executable::file_number;
    use crate::process::testing;

    /// 8:3, on which the images lie.
    const IMAGES: u32 = 8 << 20 | 3;

    fn dev(major: u32, minor: u32) -> u32 {
        kernel_dev(major, minor).unwrap()
    }

    /// Devices as the kernel lists them.
    struct Sys(tempfile::TempDir);

    impl Sys {
        fn with(self, folder: &str, number: &str) -> Self {
            let device = self.0.path().join("devices").join(folder);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("dev"), format!("{number}\n")).unwrap();
            fs::create_dir_all(self.block()).unwrap();
            symlink(&device, self.block().join(number)).unwrap();
            self
        }

        fn put(&self, folder: &str, file: &str, text: &str) {
            let path = self.0.path().join("devices").join(folder).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn slave(&self, folder: &str, of: &str) {
            let devices = self.0.path().join("devices");
            let slaves = devices.join(of).join("slaves");
            fs::create_dir_all(&slaves).unwrap();
            let name = Path::new(folder).file_name().unwrap();
            symlink(devices.join(folder), slaves.join(name)).unwrap();
        }

        fn block(&self) -> PathBuf {
            self.0.path().join("block")
        }

        fn below(&self, device: u32) -> BTreeSet<u32> {
            let mounts = [("/", dev(8, 1)), ("/srv", dev(8, 2)), ("/srv", IMAGES)];
            let host = HostStorage {
                block: self.block(),
                mounts: mounts.map(|(point, dev)| (point.into(), dev)).into(),
            };
            host.all_below(BTreeSet::from([device]))
        }
    }

    #[test]
    fn a_volume_on_a_loop_device_lies_on_the_file_system_of_its_file() {
        let sys = Sys(tempfile::tempdir().unwrap())
            .with("dm-0", "253:0")
            .with("loop0", "7:0")
            .with("loop0/loop0p1", "7:1");
        sys.slave("loop0/loop0p1", "dm-0");
        sys.put("loop0/loop0p1", "partition", "1\n");
        sys.put("loop0", "loop/backing_file", "/srv/an image\n");
        let all = BTreeSet::from([dev(253, 0), dev(7, 1), dev(7, 0), IMAGES]);
        assert_eq!(sys.below(dev(253, 0)), all);
    }

    #[test]
    fn what_is_gone_or_leads_in_a_circle_ends_the_look() {
        let sys = Sys(tempfile::tempdir().unwrap())
            .with("dm-0", "253:0")
            .with("dm-1", "253:1")
            .with("loop0", "7:0");
        sys.slave("dm-1", "dm-0");
        sys.slave("dm-0", "dm-1");
        sys.slave("loop0", "dm-1");
        sys.put("loop0", "loop/backing_file", "/gone (deleted)\n");
        let all = BTreeSet::from([dev(253, 0), dev(253, 1), dev(7, 0), dev(8, 1)]);
        assert_eq!(sys.below(dev(253, 0)), all);
        assert_eq!(sys.below(dev(8, 0)), BTreeSet::from([dev(8, 0)]));
    }

    #[test]
    fn the_file_system_of_a_file_is_there_while_the_file_is_open() {
        let host = HostStorage::look();
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        let (dev, _) = file_number(Path::new("/dev/shm")).unwrap();
        let handle = ProcHandle::open(std::process::id()).unwrap();
        assert!(handle.storage(&host).contains(&dev));
        drop(file);
        let (child, _) = testing::child();
        let other = ProcHandle::open(child.id()).unwrap();
        assert!(!other.storage(&host).contains(&dev), "it has none there");
        testing::end(child);
    }
}
