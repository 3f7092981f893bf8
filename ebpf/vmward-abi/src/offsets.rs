//! Where the running kernel keeps the fields that the programs read.
//!
//! The daemon fills this from the kernel's own BTF before it loads a program,
//! and refuses to load when a field is missing: a wrong offset would be a
//! silent open door.

/// Offset of a field that this kernel does not have. Only for fields that
/// attribution can do without.
pub const OFFSET_ABSENT: u32 = u32::MAX;

/// Byte offsets, one for each field, and the enumerators that moved between
/// kernels.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.start_boottime`
    pub task_start_boottime: u32,
    /// `task_struct.real_parent`
    pub task_real_parent: u32,
    /// `task_struct.comm`
    pub task_comm: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `task_struct.exit_code`
    pub task_exit_code: u32,
    /// `task_struct.loginuid`, may be absent
    pub task_loginuid: u32,
    /// `task_struct.sessionid`, may be absent
    pub task_sessionid: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `mm_struct.exe_file`
    pub mm_exe_file: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `inode.i_ino`
    pub inode_number: u32,
    /// `inode.i_sb`
    pub inode_sb: u32,
    /// `super_block.s_dev`
    pub sb_dev: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// `signal_struct.group_exit_code`
    pub signal_group_exit_code: u32,
    /// `signal_struct.pids`
    pub signal_pids: u32,
    /// `kernel_siginfo.si_code`
    pub siginfo_code: u32,
    /// `socket.sk`
    pub socket_sk: u32,
    /// `sock.__sk_common.skc_family`
    pub sock_family: u32,
    /// `sock.sk_peer_pid`
    pub sock_peer_pid: u32,
    /// `unix_sock.addr`
    pub unix_addr: u32,
    /// `unix_address.len`
    pub unix_address_len: u32,
    /// `unix_address.name`
    pub unix_address_name: u32,
    /// `pid.numbers`
    pub pid_numbers: u32,
    /// `upid.nr`
    pub upid_nr: u32,
    /// `msghdr.msg_iter`
    pub msghdr_iter: u32,
    /// `iov_iter.iter_type`
    pub iter_type: u32,
    /// `iov_iter.__iov`, or `.iov` before 6.4
    pub iter_iov: u32,
    /// `iov_iter.ubuf`
    pub iter_ubuf: u32,
    /// `iov_iter.iov_offset`
    pub iter_offset: u32,
    /// `enum iter_type`: `ITER_IOVEC`
    pub iter_type_iovec: u32,
    /// `enum iter_type`: `ITER_UBUF`
    pub iter_type_ubuf: u32,
    /// `dentry.d_inode`
    pub dentry_inode: u32,
    /// `path.mnt`
    pub path_mnt: u32,
    /// `path.dentry`
    pub path_dentry: u32,
    /// `vfsmount.mnt_root`
    pub vfsmount_root: u32,
    /// `mount.mnt`
    pub mount_vfsmount: u32,
    /// `mount.mnt_ns`
    pub mount_ns: u32,
    /// `mnt_namespace.ns`
    pub mnt_namespace_ns: u32,
    /// `ns_common.inum`
    pub ns_common_inum: u32,
    /// `user_namespace.level`
    pub user_ns_level: u32,
    /// `bpf_map.id`
    pub bpf_map_id: u32,
    /// `bpf_prog.aux`
    pub bpf_prog_aux: u32,
    /// `bpf_prog.type`
    pub bpf_prog_type: u32,
    /// `bpf_prog.len`
    pub bpf_prog_len: u32,
    /// `bpf_prog.insnsi`
    pub bpf_prog_insns: u32,
    /// `bpf_prog_aux.id`
    pub bpf_prog_aux_id: u32,
    /// `linux_binprm.file`
    pub binprm_file: u32,
    /// `task_struct.ptrace`
    pub task_ptrace: u32,
}
