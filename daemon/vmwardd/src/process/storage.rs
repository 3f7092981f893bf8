//! What the files and disks of a process lie on, and what is below that: the file of a
//! loop device, what a device of the device mapper or an array is made of. Whoever
//! freezes a file system there freezes what lies on it.

use std::collections::BTreeSet;
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
    /// disks that it has open, with all that lies below them, as the kernel numbers
    /// them.
    pub fn storage(&self) -> BTreeSet<u32> {
        let mut devices = self.file_systems();
        devices.extend(self.disks());
        Host::new().all_below(devices)
    }

    fn disks(&self) -> Vec<u32> {
        let files = self.process.fd().into_iter().flatten().flatten();
        // Others could be on a server that does not answer.
        let files = files.filter(
            |file| matches!(&file.target, FDTarget::Path(path) if path.starts_with("/dev")),
        );
        let meta = files.filter_map(|file| {
            // The link leads to the very file, whatever its name is by now.
            let link = format!("/proc/{}/fd/{}", self.process.pid, file.fd);
            fs::metadata(link).ok()
        });
        let disks = meta.filter(|meta| meta.file_type().is_block_device());
        let number = |meta: fs::Metadata| {
            let number = meta.rdev();
            let (major, minor) = (libc::major(number), libc::minor(number));
            kernel_dev(major, minor)
        };
        disks.filter_map(number).collect()
    }

    fn file_systems(&self) -> BTreeSet<u32> {
        let mounts = self.process.mountinfo().ok();
        let Some(mounts) = mounts.map(executable::devices) else {
            return BTreeSet::new();
        };
        let files = self.process.fd().into_iter().flatten().flatten();
        let files = files.filter(|file| matches!(file.target, FDTarget::Path(_)));
        files
            .filter_map(|file| {
                let info = self.read_small(&format!("fdinfo/{}", file.fd))?;
                let mount = executable::field(&info, "mnt_id:")?;
                // libvirt hands files over that it has opened outside.
                let inside = mounts.get(&mount).copied();
                inside.or_else(|| executable::device_of_mount(mount))
            })
            .collect()
    }
}

/// Where devices are listed, and what is mounted where.
struct Host {
    block: PathBuf,
    /// Later ones cover earlier ones.
    mounts: Vec<(PathBuf, u32)>,
}

impl Host {
    /// This host, with the mounts of its first process.
    fn new() -> Self {
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
            let host = Host {
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
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        let (dev, _) = file_number(Path::new("/dev/shm")).unwrap();
        let handle = ProcHandle::open(std::process::id()).unwrap();
        assert!(handle.storage().contains(&dev));
        drop(file);
        let (child, _) = testing::child();
        let other = ProcHandle::open(child.id()).unwrap();
        assert!(!other.storage().contains(&dev), "it has none there");
        testing::end(child);
    }
}
