//! What a tick guest's domain can have beside the least: parts of its
//! description.

use std::fs;
use std::path::{Path, PathBuf};

use super::Guest;

/// Tells libvirt that the guest's kernel has crashed; the guest does so on `c`.
pub const PANIC: &str = "<panic model='isa'/>";
/// The channel of an agent. No guest here has one: libvirt's end is all there is.
pub const AGENT: &str =
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";

/// A watchdog that runs out two seconds after the guest got a `w`.
pub fn watchdog(action: &str) -> String {
    format!("<watchdog model='ib700' action='{action}'/>")
}

/// An empty disk that can hold snapshots; makes its image.
///
/// # Panics
/// When the image cannot be written.
pub fn disk(name: &str) -> String {
    disk_at(Path::new("/var/tmp"), name)
}

/// The same with the image in a folder.
///
/// # Panics
/// When the image cannot be written.
pub fn disk_at(folder: &Path, name: &str) -> String {
    let image = folder.join(format!("{name}.qcow2"));
    fs::write(&image, empty_qcow2()).expect("the folder is writable");
    format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        image.display()
    )
}

/// The description with further devices.
///
/// # Panics
/// When it has no devices.
#[must_use]
pub fn with_devices(xml: &str, devices: &str) -> String {
    assert!(xml.contains("</devices>"), "{xml}");
    xml.replace("</devices>", &format!("{devices}</devices>"))
}

/// The description with another answer to a crash.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn with_on_crash(xml: &str, action: &str) -> String {
    const USUAL: &str = "<on_crash>destroy</on_crash>";
    assert!(xml.contains(USUAL), "{xml}");
    xml.replace(USUAL, &format!("<on_crash>{action}</on_crash>"))
}

/// The description with the guest's memory in a file.
///
/// # Panics
/// When the description has changed.
#[must_use]
pub fn with_memory_in_a_file(xml: &str) -> String {
    assert!(xml.contains("<vcpu>"), "{xml}");
    let memory = "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>";
    xml.replace("<vcpu>", &format!("{memory}<vcpu>"))
}

/// The description with the guest's memory in a memfd.
///
/// # Panics
/// When the description has changed.
#[must_use]
pub fn with_memory_without_a_name(xml: &str) -> String {
    with_memory_in_a_file(xml).replace("<source type='file'/>", "<source type='memfd'/>")
}

/// The file that is a running guest's memory, whether or not it still has a name.
///
/// # Panics
/// When there is none.
pub fn memory_of(guest: &Guest) -> PathBuf {
    let links = fs::read_dir(format!("/proc/{}/fd", guest.pid())).expect("it runs");
    let mut links = links.flatten().map(|link| link.path());
    let is_memory = |path: &str| path.contains("/qemu/ram/") || path.starts_with("/memfd:");
    let is_it =
        |link: &PathBuf| fs::read_link(link).is_ok_and(|file| is_memory(&file.to_string_lossy()));
    links.find(is_it).expect("its memory is in a file")
}

const CLUSTER: usize = 1 << 16;
const CLUSTERS: usize = 4;

/// Nothing on a machine that builds this makes images, so by hand: a header, the
/// table of reference counts and its one block, the empty table of clusters. See
/// `docs/interop/qcow2.txt` of QEMU.
fn empty_qcow2() -> Vec<u8> {
    let mut image = vec![0; CLUSTER * CLUSTERS];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let cluster = |number: u64| (number << 16).to_be_bytes();
    put(0, b"QFI\xfb");
    put(4, &2_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    // One MiB, one entry in the table of clusters.
    put(24, &(1_u64 << 20).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &cluster(3));
    put(48, &cluster(1));
    put(56, &1_u32.to_be_bytes());
    put(CLUSTER, &cluster(2));
    for number in 0..CLUSTERS {
        put(2 * CLUSTER + 2 * number, &1_u16.to_be_bytes());
    }
    image
}
