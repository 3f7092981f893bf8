//! polkit's `CheckAuthorization` over D-Bus, which is how libvirt itself asks
//! whether a caller may stop a domain. A bus and a polkitd of the bench's own:
//! the system's are left alone.

use std::{
    fs::{self, File, Permissions},
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{caller::nanos, daemon::Killed};
use crate::wait;

mod message;

const BUS: &str = "/usr/bin/dbus-daemon";
/// Debian's place, then those of other distributions and versions.
const POLKITD: [&str; 3] = [
    "/usr/lib/polkit-1/polkitd",
    "/usr/libexec/polkitd",
    "/usr/libexec/polkit-1/polkitd",
];
const START_LIMIT: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Longest message that is read; answers have some two hundred bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What a bus of one's own is told: anyone on it may do anything.
const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*" eavesdrop="true"/>
  </policy>
</busconfig>
"#;

/// A connection to a running polkitd, which is ended with it.
pub(super) struct Polkit {
    stream: UnixStream,
    check: Vec<u8>,
    buffer: Vec<u8>,
    _processes: [Killed; 2],
}

impl Polkit {
    /// Starts bus and polkitd under `dir`.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let me = fs::metadata("/proc/self")?.uid();
        if me != 0 {
            bail!("polkitd can only be started by root, and this is user {me}");
        }
        let polkitd = POLKITD
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .with_context(|| format!("there is no {}; run cargo xtask setup", POLKITD[0]))?;
        if !Path::new(BUS).exists() {
            bail!("there is no {BUS}; run cargo xtask setup");
        }
        fs::create_dir_all(dir)?;
        // polkitd gives up root, and must still reach the socket.
        fs::set_permissions(dir, Permissions::from_mode(0o755))?;
        let socket = dir.join("bus");
        let config = dir.join("bus.conf");
        let at = socket.display().to_string();
        fs::write(&config, CONFIG.replace("SOCKET", &at))?;
        let log = File::create(dir.join("polkit.log"))?;
        let bus = spawn(
            Command::new(BUS)
                .arg(format!("--config-file={}", config.display()))
                .args(["--nofork", "--nopidfile"]),
            &log,
        )?;
        let bus = Killed(bus);
        let stream = wait::until("the message bus", START_LIMIT, || {
            Ok(UnixStream::connect(&socket).ok())
        })?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let daemon = spawn(
            Command::new(polkitd)
                .arg("--no-debug")
                .env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={at}")),
            &log,
        )?;
        let mut polkit = Self {
            stream,
            check: message::check_authorization(own_process()?),
            buffer: vec![0; MESSAGE_BYTES_MAX],
            _processes: [Killed(daemon), bus],
        };
        polkit.greet()?;
        wait::until("polkitd to answer", START_LIMIT, || {
            // Until it has its name, the bus itself answers with an error.
            Ok(polkit.check()?.then_some(()))
        })
        .with_context(|| format!("see {}", dir.join("polkit.log").display()))?;
        Ok(polkit)
    }

    /// How long one check takes, in nanoseconds.
    pub(super) fn time(&mut self) -> Result<u64> {
        let start = Instant::now();
        if !self.check()? {
            bail!("polkitd answered with an error");
        }
        Ok(nanos(start.elapsed()))
    }

    /// Asks once; true when the answer is one, false when it is an error.
    fn check(&mut self) -> Result<bool> {
        self.stream.write_all(&self.check)?;
        self.reply()
    }

    /// Proves who we are and gets a name on the bus.
    fn greet(&mut self) -> Result<()> {
        // EXTERNAL: the bus asks the kernel; the user id is said in hex of its digits.
        self.stream.write_all(b"\0AUTH EXTERNAL 30\r\n")?;
        let mut line = [0; 128];
        let read = self.stream.read(&mut line)?;
        if !line.get(..read).unwrap_or_default().starts_with(b"OK ") {
            bail!("the message bus did not take us for root");
        }
        self.stream.write_all(b"BEGIN\r\n")?;
        self.stream.write_all(&message::hello())?;
        if !self.reply()? {
            bail!("the message bus refused our hello");
        }
        Ok(())
    }

    /// Reads up to the answer to the one question that is open; signals are
    /// passed over.
    fn reply(&mut self) -> Result<bool> {
        let mut held = 0;
        loop {
            while let Some(whole) = message::len(self.buffer.get(..held).unwrap_or_default())
                && whole <= held
            {
                let kind = self.buffer.get(1).copied();
                self.buffer.copy_within(whole..held, 0);
                held -= whole;
                match kind {
                    Some(message::RETURN) => return Ok(true),
                    Some(message::ERROR) => return Ok(false),
                    _ => {}
                }
            }
            let room = self.buffer.get_mut(held..).unwrap_or_default();
            match self.stream.read(room).context("no answer from the bus")? {
                0 => bail!("the message bus closed the connection"),
                bytes => held += bytes,
            }
        }
    }
}

fn spawn(command: &mut Command, log: &File) -> Result<Child> {
    let name = PathBuf::from(command.get_program());
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .with_context(|| format!("Failed to start {}", name.display()))
}

/// Number and start time of this process, as libvirt would send a client's.
fn own_process() -> Result<(u32, u64)> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // The name in brackets may hold anything; the start time is the 20th after it.
    let started = text
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(19))
        .context("/proc/self/stat has no start time")?
        .parse()?;
    Ok((std::process::id(), started))
}
