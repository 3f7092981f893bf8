//! Loading, attaching, pinning, and taking over from a former daemon.
//!
//! Pins live in `PIN_DIR/abiN/`: the maps by name, and for each generation of
//! programs a folder `gen-G` with one link a program. The map `ACTIVE` names
//! the generation that decides; the others are attached and step aside:
//!
//! ```text
//!   load gen G+1 -> attach beside G -> ACTIVE = G+1 -> self-test -> remove G
//!                                                        \ failed: ACTIVE = G, remove G+1
//! ```
//!
//! So there is no moment without enforcement, and none in which two
//! generations report the same event. A crash at any step leaves a folder that
//! is not the active one; the next start removes it.

mod folders;
mod lock;
mod runs;
mod verify;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData};
use aya::programs::Program;
use aya::programs::links::FdLink;
use aya::{Btf, Ebpf, EbpfLoader};
use tracing::warn;
use vmward_abi::ABI_VERSION;
use vmward_wire::v1::HookStatus;

use self::folders::{create_dir, prepare_dir, remove_logged, remove_stale};
pub use self::lock::PinLock;
use self::runs::Runs;
use super::{KernelError, monitor, offsets};
use crate::notify;
use crate::process::view::mount_namespace;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("VMWARD_PROBES_EMBEDDED"));

const LSM_FILE: &str = "/sys/kernel/security/lsm";

/// How a program is attached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hook {
    /// An LSM hook that refuses.
    Wall,
    /// An LSM hook that is only told of something.
    Told,
    /// A BTF tracepoint.
    Tracepoint,
    /// The end of a function that no hook is in: ends who may not go on.
    Exit,
}

/// Every program by name; the name is also the hook's.
const PROGRAMS: &[(&str, Hook)] = &[
    ("task_kill", Hook::Wall),
    ("socket_sendmsg", Hook::Wall),
    ("signal_generate", Hook::Tracepoint),
    ("sched_process_exit", Hook::Tracepoint),
    ("ptrace_access_check", Hook::Wall),
    ("task_setrlimit", Hook::Wall),
    ("task_setscheduler", Hook::Wall),
    ("task_setnice", Hook::Wall),
    ("task_setioprio", Hook::Wall),
    ("task_movememory", Hook::Wall),
    ("file_send_sigiotask", Hook::Wall),
    ("perf_event_alloc", Hook::Wall),
    ("file_permission", Hook::Wall),
    ("file_open", Hook::Wall),
    ("cgroup_attach_task", Hook::Tracepoint),
    ("module_load", Hook::Tracepoint),
    ("unix_stream_connect", Hook::Wall),
    ("capable", Hook::Wall),
    ("bpf_map", Hook::Wall),
    ("bpf_prog", Hook::Wall),
    ("inode_unlink", Hook::Wall),
    ("inode_rmdir", Hook::Wall),
    ("inode_rename", Hook::Wall),
    ("path_truncate", Hook::Wall),
    ("inode_free_security", Hook::Told),
    ("sb_umount", Hook::Wall),
    ("sb_mount", Hook::Wall),
    ("move_mount", Hook::Wall),
    ("sb_remount", Hook::Wall),
    ("sb_pivotroot", Hook::Wall),
    ("fs_context_parse_param", Hook::Wall),
    ("netlink_send", Hook::Wall),
    ("bprm_creds_for_exec", Hook::Wall),
    ("cgroup_can_fork", Hook::Exit),
];

/// The attached programs of this daemon.
pub(super) struct Programs {
    dir: PathBuf,
    generation: u32,
    former: Option<u32>,
    tested: bool,
    _lock: PinLock,
}

fn pin_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KernelError {
    let path = path.to_owned();
    move |source| KernelError::Pin { what, path, source }
}

impl Programs {
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Where these programs are pinned.
    pub(super) fn folder(&self) -> PathBuf {
        generation_dir(&self.dir, self.generation)
    }

    /// The generation that decided before.
    pub(super) fn former(&self) -> Option<u32> {
        self.former
    }

    /// The new programs are good: the former ones go.
    pub(super) fn commit(&mut self) {
        self.tested = true;
        if let Some(former) = self.former {
            remove_generation(&self.dir, former);
        }
    }

    /// The new programs go; without former ones so does everything.
    pub(super) fn remove(&self) {
        remove_generation(&self.dir, self.generation);
        if self.former.is_none() {
            remove_logged(&self.dir);
        }
    }

    pub(super) fn status(&self) -> Vec<HookStatus> {
        let folder = generation_dir(&self.dir, self.generation);
        let runs = Runs::look();
        let status = |(name, hook): &(&str, Hook)| {
            let pin = folder.join(name);
            let ran = runs.of(&pin);
            let (kind, testable) = match hook {
                Hook::Wall => ("wall", true),
                // Whoever tries it is ended, and under systemd's `RestrictNamespaces=`
                // nobody can.
                Hook::Exit => ("wall", false),
                Hook::Told => ("witness", false),
                Hook::Tracepoint => ("witness", true),
            };
            let tested = self.tested && testable;
            HookStatus {
                name: (*name).to_owned(),
                kind: kind.to_owned(),
                attached: pin.exists(),
                self_test: if tested { "passed" } else { "not-run" }.to_owned(),
                detail: format!("pinned, generation {}", self.generation),
                runs: ran.map(|ran| ran.count),
                mean_ns: ran.map(|ran| ran.mean_ns),
            }
        };
        PROGRAMS.iter().map(status).collect()
    }
}

fn abi_dir(pin_dir: &Path) -> PathBuf {
    pin_dir.join(format!("abi{ABI_VERSION}"))
}

fn generation_dir(dir: &Path, generation: u32) -> PathBuf {
    dir.join(format!("gen-{generation}"))
}

/// Loads the next generation and attaches it, not yet deciding.
pub(super) fn load(mut lock: PinLock) -> Result<(Programs, Ebpf), KernelError> {
    if OBJECT.is_empty() {
        return Err(KernelError::NoProbes);
    }
    check_lsm()?;
    let offsets = offsets::resolve()?;
    let dir = prepare_dir(lock.pin_dir())?;
    lock.take_folder(&dir)?;
    let former = active_generation(&dir);
    let kept = former.map(|g| generation_dir(&dir, g));
    remove_stale(&dir, kept.as_deref());
    let programs = Programs {
        generation: former.map_or(1, |g| g.wrapping_add(1).max(1)),
        former,
        tested: false,
        _lock: lock,
        dir,
    };
    let loaded = load_and_attach(&programs, &offsets);
    give_memory_back();
    match loaded {
        Ok(ebpf) => Ok((programs, ebpf)),
        Err(e) => {
            programs.remove();
            Err(e)
        }
    }
}

/// The kernel's types, parsed twice, take three times what the daemon needs
/// from then on.
#[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
fn give_memory_back() {
    // SAFETY: malloc_trim touches no live allocation.
    unsafe { libc::malloc_trim(0) };
}

fn load_and_attach(
    programs: &Programs,
    offsets: &vmward_abi::Offsets,
) -> Result<Ebpf, KernelError> {
    let btf = Btf::from_sys_fs().map_err(|e| KernelError::Program {
        what: "read the kernel's types for",
        program: "all",
        source: Box::new(e),
    })?;
    // Where it does not show, the host's is all that is known.
    let own_mounts = mount_namespace("self").unwrap_or(0);
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .default_map_pin_directory(&programs.dir)
        .override_global("OFFSETS", offsets, true)
        .override_global("GENERATION", &programs.generation, true)
        .override_global("MONITOR_MODE", &monitor::mode(), true)
        .override_global("OWN_MOUNTS", &own_mounts, true)
        .override_global("OWN_TGID", &std::process::id(), true)
        .load(OBJECT)
        .map_err(|e| KernelError::Load(Box::new(e)))?;
    let folder = generation_dir(&programs.dir, programs.generation);
    create_dir(&folder)?;
    verify::all(&mut ebpf, &btf)?;
    for (name, hook) in PROGRAMS.iter().copied() {
        notify::starting();
        let link = attach_one(&mut ebpf, name, hook)?;
        // The pin holds the link from here on.
        link.pin(folder.join(name)).map_err(failed("pin", name))?;
    }
    Ok(ebpf)
}

fn failed<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
    program: &'static str,
) -> impl FnOnce(E) -> KernelError {
    move |e| KernelError::Program {
        what,
        program,
        source: Box::new(e),
    }
}

fn of_wrong_type(name: &str) -> KernelError {
    KernelError::MissingField {
        what: format!("program {name} of the right type"),
    }
}

fn attach_one(ebpf: &mut Ebpf, name: &'static str, hook: Hook) -> Result<FdLink, KernelError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::MissingField {
            what: format!("program {name}"),
        })?;
    match (program, hook) {
        (Program::Lsm(p), Hook::Wall | Hook::Told) => {
            let id = p.attach().map_err(failed("attach", name))?;
            let link = p.take_link(id).map_err(failed("attach", name))?;
            Ok(FdLink::from(link))
        }
        (Program::BtfTracePoint(p), Hook::Tracepoint) => {
            let id = p.attach().map_err(failed("attach", name))?;
            let link = p.take_link(id).map_err(failed("attach", name))?;
            Ok(FdLink::from(link))
        }
        (Program::FExit(p), Hook::Exit) => {
            let id = p.attach().map_err(failed("attach", name))?;
            let link = p.take_link(id).map_err(failed("attach", name))?;
            Ok(FdLink::from(link))
        }
        _ => Err(of_wrong_type(name)),
    }
}

/// BPF must be among the active security modules: a program attached without
/// it is never called.
fn check_lsm() -> Result<(), KernelError> {
    let active = match fs::read_to_string(LSM_FILE) {
        Ok(list) => list,
        // Without securityfs there is nothing to read; the self-test decides.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(pin_error("read", Path::new(LSM_FILE))(e)),
    };
    if active.trim().split(',').any(|module| module == "bpf") {
        return Ok(());
    }
    Err(KernelError::NoBpfLsm {
        lsm_file: LSM_FILE,
        active: active.trim().to_owned(),
    })
}

/// The generation that decides now, where a former daemon left one.
fn active_generation(dir: &Path) -> Option<u32> {
    let generation = active_map(dir)?.get(&0, 0).ok()?;
    generation_dir(dir, generation)
        .exists()
        .then_some(generation)
}

/// The pinned map that says which generation decides.
fn active_map(dir: &Path) -> Option<Array<MapData, u32>> {
    let map = MapData::from_pin(dir.join("ACTIVE")).ok()?;
    Map::Array(map).try_into().ok()
}

fn remove_generation(dir: &Path, generation: u32) {
    remove_logged(&generation_dir(dir, generation));
}

/// Stands for no generation: they count from 1.
const NOBODY: u32 = 0;

/// Lets no generation decide, then removes every pin. The first takes effect at
/// once; the kernel lets go of unpinned programs a moment later, and at a host
/// shutdown the signals to the VMs come within that moment.
fn detach(pin_dir: &Path) -> Result<bool, KernelError> {
    if let Some(mut active) = active_map(&abi_dir(pin_dir))
        && let Err(error) = active.set(0, NOBODY, 0)
    {
        warn!(%error, "the programs go on deciding until the kernel lets go of them");
    }
    match fs::remove_dir_all(pin_dir) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(pin_error("remove", pin_dir)(e)),
    }
}
