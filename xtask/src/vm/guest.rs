//! The tick guest: a boot sector, its domain, and talking to it inside the VM.

use std::{
    fmt::Write as _,
    fs,
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};

use crate::{process, wait};

/// The boot sector, and what starts it.
const SECTOR: Part = Part {
    name: "tick",
    source: include_str!("tick.s"),
    address: "0x7c00",
    bytes: 512,
};
const FIRMWARE: Part = Part {
    name: "firmware",
    source: include_str!("firmware.s"),
    address: "0",
    bytes: 64 * 1024,
};
/// Where the VM keeps these, the serial logs and the serial sockets.
const HOME: &str = "/var/lib/vmward-guests";
/// The image of the file system that is there.
const HOUSE: &str = "/var/lib/vmward-guests.img";
const HOUSE_BYTES: u64 = 64 << 20;

#[derive(Args)]
pub(crate) struct GuestArgs {
    #[command(subcommand)]
    command: GuestCommand,
}

#[derive(Subcommand)]
enum GuestCommand {
    /// How often a guest has ticked since its domain started
    Ticks { name: String },
    /// Everything a guest has printed since its domain started
    Serial { name: String },
    /// Wait until a guest has ticked COUNT times more
    WaitTicks {
        name: String,
        #[arg(long, default_value_t = 3)]
        count: usize,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Send a guest bytes: p power off, r reset, i ignore the power button,
    /// c crash, w let a watchdog run out
    Send { name: String, bytes: String },
    /// The XML of a domain that runs the tick guest
    Xml { name: String },
    /// Define and start a domain, and wait until it ticks
    Start { name: String },
}

pub(crate) fn run(args: &GuestArgs) -> Result<()> {
    match &args.command {
        GuestCommand::Ticks { name } => println!("{}", ticks(name)?),
        GuestCommand::Serial { name } => println!("{}", serial(name)?),
        GuestCommand::WaitTicks {
            name,
            count,
            seconds,
        } => {
            let goal = ticks(name)? + count;
            wait_ticks(name, goal, Duration::from_secs(*seconds))?;
        }
        GuestCommand::Send { name, bytes } => send(name, bytes)?,
        GuestCommand::Xml { name } => print!("{}", xml(name)),
        GuestCommand::Start { name } => {
            start(std::slice::from_ref(name))?;
            wait_ticks(name, 2, Duration::from_mins(1))?;
        }
    }
    Ok(())
}

/// A piece of the guest.
struct Part {
    /// What its files are called.
    name: &'static str,
    source: &'static str,
    /// Where it is at home in memory, as the linker takes it.
    address: &'static str,
    /// How long it must be.
    bytes: u64,
}

impl Part {
    fn image(&self) -> String {
        format!("{}.img", self.name)
    }

    /// Builds it in a folder, with the assembler that every linker comes with.
    fn assemble(&self, folder: &Path) -> Result<()> {
        let name = self.name;
        let at = |ending: &str| folder.join(format!("{name}.{ending}"));
        let (source, object, image) = (at("s"), at("o"), folder.join(self.image()));
        fs::write(&source, self.source).context("Failed to write the guest's source")?;
        process::output(
            Command::new("as")
                .arg("--32")
                .arg("-I")
                .args([folder, &source])
                .arg("-o")
                .arg(&object),
        )?;
        process::output(
            Command::new("ld")
                .args(["-m", "elf_i386", "--oformat", "binary"])
                .args(["-Ttext", self.address, "-e", "_start"])
                .arg(&object)
                .arg("-o")
                .arg(&image),
        )?;
        let size = fs::metadata(&image)
            .with_context(|| format!("Failed to read the guest's {name}"))?
            .len();
        if size != self.bytes {
            bail!(
                "the guest's {name} has {size} bytes instead of {}",
                self.bytes
            );
        }
        Ok(())
    }
}

/// Builds the guest in a folder.
pub(super) fn assemble(folder: &Path) -> Result<()> {
    // The firmware has the boot sector in it.
    SECTOR.assemble(folder)?;
    FIRMWARE.assemble(folder)
}

/// Puts what was built in a folder where domains can boot it.
pub(super) fn install(folder: &Path) -> Result<()> {
    house()?;
    for image in [SECTOR.image(), FIRMWARE.image()] {
        fs::copy(folder.join(&image), format!("{HOME}/{image}"))
            .with_context(|| format!("Failed to install {image}"))?;
    }
    Ok(())
}

/// Gives the guests a file system of their own, on a disk of the VM's: one that can be
/// frozen, and nothing else with it. A VM that was rebooted has the disk already.
pub(super) fn house() -> Result<()> {
    fs::create_dir_all(HOME).with_context(|| format!("Failed to create {HOME}"))?;
    if !Path::new(HOUSE).exists() {
        fs::File::create(HOUSE)
            .and_then(|image| image.set_len(HOUSE_BYTES))
            .with_context(|| format!("Failed to create {HOUSE}"))?;
        process::output(Command::new("mkfs.ext4").args(["-q", "-F", HOUSE]))?;
    }
    process::output(Command::new("modprobe").args(["--all", "loop", "ext4"]))?;
    process::output(Command::new("mount").args(["-o", "loop", HOUSE, HOME]))
        .map(|_| ())
        .context("the guests have no file system")
}

/// Defines and starts domains, in two rows: the VM has two processors.
pub(super) fn start(names: &[String]) -> Result<()> {
    let (left, right) = names.split_at(names.len().div_ceil(2));
    thread::scope(|scope| {
        let other = scope.spawn(|| start_row(right));
        start_row(left)?;
        other
            .join()
            .map_err(|_panic| anyhow!("the thread that starts domains panicked"))?
    })
}

/// One virsh for all of them, since each start of virsh is slow here.
fn start_row(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut script = String::new();
    for name in names {
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            bail!("a guest's name has letters, digits and dashes only, not {name:?}");
        }
        let path = format!("{HOME}/{name}.xml");
        fs::write(&path, xml(name)).with_context(|| format!("Failed to write {path}"))?;
        write!(script, "define {path}; start {name}; ")?;
    }
    process::output(Command::new("virsh").args(["-c", "qemu:///system", &script]))
        .map(|_| ())
        .context("a guest does not start")
}

/// As small as libvirt allows, with all that a stop can travel through: ACPI,
/// a serial line in both directions, the monitor. Without that capability of
/// QEMU's, libvirt 9 asks for all properties of the processor at once, and not
/// for each of some hundred: under emulation a start takes 3 s instead of 8.
fn xml(name: &str) -> String {
    format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <loader readonly='yes' type='rom'>{HOME}/firmware.img</loader>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='floppy'>
      <driver name='qemu' type='raw'/>
      <source file='{HOME}/tick.img'/>
      <target dev='fda'/>
      <readonly/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='unix'>
      <source mode='bind' path='{socket}'/>
      <log file='{log}' append='off'/>
    </serial>
    <memballoon model='none'/>
  </devices>
  <qemu:capabilities><qemu:del capability='cpu-unavailable-features'/></qemu:capabilities>
</domain>
",
        socket = socket(name).display(),
        log = log(name).display(),
    )
}

fn log(name: &str) -> PathBuf {
    Path::new(HOME).join(format!("{name}.serial"))
}

fn socket(name: &str) -> PathBuf {
    Path::new(HOME).join(format!("{name}.sock"))
}

fn serial(name: &str) -> Result<String> {
    let path = log(name);
    let bytes = fs::read(&path).with_context(|| format!("Failed to read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Dots after the guest's own first sign of life; the BIOS may print some before.
fn ticks(name: &str) -> Result<usize> {
    let serial = serial(name)?;
    let own = serial.split_once('B').map_or("", |(_, own)| own);
    Ok(own.bytes().filter(|byte| *byte == b'.').count())
}

/// Waits until a guest has ticked `goal` times in all.
pub(super) fn wait_ticks(name: &str, goal: usize, limit: Duration) -> Result<()> {
    wait::until(&format!("{goal} ticks of {name}"), limit, || {
        // The log appears when the domain starts.
        Ok(ticks(name).is_ok_and(|seen| seen >= goal).then_some(()))
    })
}

fn send(name: &str, bytes: &str) -> Result<()> {
    let path = socket(name);
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("Failed to reach the guest at {}", path.display()))?;
    stream
        .write_all(bytes.as_bytes())
        .context("Failed to send to the guest")
}
