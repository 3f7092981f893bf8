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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// `unix_sock.peer`
    pub unix_peer: u32,
    /// `unix_sock.path`
    pub unix_path: u32,
    /// `path.dentry`
    pub path_dentry: u32,
    /// `dentry.d_inode`
    pub dentry_inode: u32,
    /// `dentry.d_parent`
    pub dentry_parent: u32,
    /// `dentry.d_name.name`
    pub dentry_name: u32,
    /// `file.f_path`
    pub file_path: u32,
    /// `task_struct.ptrace`
    pub task_ptrace: u32,
    /// `mm_struct.env_start`
    pub mm_env_start: u32,
    /// `mm_struct.env_end`
    pub mm_env_end: u32,
    /// `sock.sk_peer_cred`
    pub sock_peer_cred: u32,
    /// `cred.euid`
    pub cred_euid: u32,
    /// `iov_iter.nr_segs`
    pub iter_segments: u32,
    /// `task_struct.flags`
    pub task_flags: u32,
    /// `signal_struct.rlim`
    pub signal_rlim: u32,
    /// `fown_struct.uid`
    pub fown_uid: u32,
    /// `super_block.s_magic`
    pub sb_magic: u32,
    /// `file.f_mode`
    pub file_mode: u32,
    /// `file.f_flags`
    pub file_flags: u32,
    /// `module.name`
    pub module_name: u32,
    /// `file.f_path.dentry`
    pub file_dentry: u32,
    /// `inode.i_mode`
    pub inode_mode: u32,
    /// `inode.i_rdev`
    pub inode_rdev: u32,
    /// `inode.i_nlink`
    pub inode_links: u32,
    /// `inode.i_private`
    pub inode_private: u32,
    /// `kernfs_node.__parent`, or `.parent` before 6.15
    pub kernfs_parent: u32,
    /// `kernfs_node.name`
    pub kernfs_name: u32,
    /// `kernfs_node.id`
    pub kernfs_id: u32,
    /// `kernfs_node.priv`
    pub kernfs_priv: u32,
    /// `cgroup.kn`
    pub cgroup_kn: u32,
    /// `cgroup.root`
    pub cgroup_root: u32,
    /// `cgroup.dom_cgrp`
    pub cgroup_domain: u32,
    /// `cgroup.freezer.freeze`
    pub cgroup_freeze: u32,
    /// `cgroup_root.hierarchy_id`
    pub cgroup_root_hierarchy: u32,
    /// `cgroup.subsys[freezer_cgrp_id]`, may be absent
    pub cgroup_v1_freezer: u32,
    /// `freezer.state`, may be absent
    pub freezer_state: u32,
    /// `proc_inode.pid`
    pub proc_pid: u32,
    /// `proc_inode.vfs_inode`
    pub proc_vfs_inode: u32,
    /// `pid.tasks`
    pub pid_tasks: u32,
    /// `task_struct.pid_links`
    pub task_pid_links: u32,
    /// `pt_regs.orig_ax`, may be absent
    pub regs_syscall: u32,
    /// `pt_regs.si`, may be absent
    pub regs_second: u32,
    /// `pt_regs.dx`, may be absent
    pub regs_third: u32,
    /// `path.mnt`
    pub path_mnt: u32,
    /// `vfsmount.mnt_root`
    pub vfsmount_root: u32,
    /// `mount.mnt`
    pub mount_vfsmount: u32,
    /// `mount.mnt_ns`
    pub mount_ns: u32,
    /// `mount.mnt_parent`
    pub mount_parent: u32,
    /// `mount.mnt_share`
    pub mount_share: u32,
    /// `mount.mnt_slave_list`
    pub mount_slave_list: u32,
    /// `task_struct.nsproxy`
    pub task_nsproxy: u32,
    /// `nsproxy.mnt_ns`
    pub nsproxy_mnt_ns: u32,
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
    /// `perf_event.attr`
    pub perf_event_attr: u32,
    /// `perf_event.hw.target`
    pub perf_event_target: u32,
    /// `task_struct.perf_event_ctxp`
    pub task_perf: u32,
    /// The second context of events, where a task has two, which is before 6.2; else the
    /// same
    pub task_perf_second: u32,
    /// `perf_event_context.nr_events`
    pub perf_context_events: u32,
    /// `bpf_prog.expected_attach_type`
    pub bpf_prog_attach_type: u32,
    /// `bpf_prog_aux.attach_btf_id`
    pub bpf_prog_aux_attach: u32,
    /// The number of the type `struct sched_ext_ops`, may be absent
    pub sched_ext_ops: u32,
    /// The kind of a perf event that is a breakpoint in a program, may be absent
    pub uprobe_pmu: u32,
    /// `pt_regs.di`, may be absent
    pub regs_first: u32,
    /// `pt_regs.bx`, may be absent
    pub regs_bx: u32,
    /// `pt_regs.cx`, may be absent
    pub regs_cx: u32,
    /// `task_struct.thread_info.status`, may be absent
    pub task_status: u32,
    /// `task_struct.thread_pid`
    pub task_thread_pid: u32,
    /// `pid.level`
    pub pid_level: u32,
    /// `upid.ns`
    pub upid_ns: u32,
    /// `pid_namespace.idr`
    pub pid_namespace_idr: u32,
    /// `idr.idr_rt.xa_head`
    pub idr_head: u32,
    /// `xa_node.shift`
    pub xa_node_shift: u32,
    /// `xa_node.slots`
    pub xa_node_slots: u32,
    /// `kernel_clone_args.flags`
    pub clone_flags: u32,
    /// `kernel_clone_args.cgrp`
    pub clone_cgroup: u32,
    /// `bpf_prog_aux.used_maps`
    pub bpf_prog_aux_maps: u32,
    /// `bpf_prog_aux.used_map_cnt`
    pub bpf_prog_aux_map_count: u32,
    /// `bpf_map.map_type`
    pub bpf_map_type: u32,
    /// `cgroup.subsys`, that of memory; may be absent
    pub cgroup_memory: u32,
    /// `mem_cgroup.memory.usage`, may be absent
    pub memory_usage: u32,
    /// `cgroup.subsys`, that of processors; may be absent
    pub cgroup_cpu: u32,
    /// `task_group.cfs_bandwidth.period`, in nanoseconds; may be absent
    pub cpu_period: u32,
    /// `task_struct.files`
    pub task_files: u32,
    /// `files_struct.count`
    pub files_count: u32,
    /// `files_struct.fdt`
    pub files_table: u32,
    /// `fdtable.max_fds`
    pub fdtable_max: u32,
    /// `fdtable.fd`
    pub fdtable_files: u32,
    /// `super_block.s_root`
    pub sb_root: u32,
    /// `sock.sk_protocol`
    pub sock_protocol: u32,
    /// `sk_buff.data`
    pub skb_data: u32,
    /// `sk_buff.len`
    pub skb_len: u32,
    /// `fs_parameter.key`
    pub fs_parameter_key: u32,
    /// `fs_context.root`
    pub fs_context_root: u32,
    /// `task_struct.worker_private`, may be absent
    pub task_worker: u32,
    /// `io_worker.cur_work`, may be absent
    pub io_worker_work: u32,
    /// `io_kiocb.work`, may be absent
    pub io_request_work: u32,
    /// `io_kiocb.opcode`, may be absent
    pub io_request_operation: u32,
    /// `task_struct.seccomp.mode`, may be absent
    pub task_seccomp: u32,
}
