//! The host's end, and other people's BPF programs.

use nix::errno::Errno;

use super::{Failed, bpf, number, usage};

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // Wrong magic numbers: where it is not refused, it fails as invalid and
        // the host goes on.
        ["reboot"] => raw(libc::SYS_reboot, &[0; 5]).map(drop),
        ["kexec-load"] => raw(libc::SYS_kexec_load, &[0, 0, 0, -1, 0]).map(drop),
        ["kexec-file-load"] => raw(libc::SYS_kexec_file_load, &[-1, -1, 0, 0, -1]).map(drop),
        [what, rest @ ..] if what.starts_with("bpf-") => bpf::run(what, number(rest, 0)?),
        _ => usage("host: reboot | kexec-load | kexec-file-load | bpf-... PID"),
    }
}

#[expect(unsafe_code, reason = "a raw system call")]
fn raw(number: libc::c_long, args: &[libc::c_long; 5]) -> Result<libc::c_long, Failed> {
    let [first, second, third, fourth, fifth] = *args;
    // SAFETY: the callers' pointers are alive; the rest is numbers.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    Ok(Errno::result(result)?)
}
