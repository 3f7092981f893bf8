//! Where this kernel keeps its fields, from its own BTF.
//!
//! A wrong offset would be a silent open door, so a field that is not found
//! stops the load; there is no default.

use std::fs;

use btf_rs::{Btf, BtfType, Type};
use vmward_abi::{OFFSET_ABSENT, Offsets};

use super::KernelError;

/// The running kernel's own types.
pub(super) const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

const POINTER_LEN: u32 = 8;

/// Resolves every offset that the programs use.
pub(super) fn resolve() -> Result<Offsets, KernelError> {
    let btf = Btf::from_file(BTF_PATH).map_err(|source| KernelError::Btf {
        path: BTF_PATH,
        source,
    })?;
    let find = Finder { btf: &btf };
    Ok(Offsets {
        task_tgid: find.field("task_struct", &["tgid"])?,
        task_group_leader: find.field("task_struct", &["group_leader"])?,
        task_start_boottime: find.field("task_struct", &["start_boottime"])?,
        task_real_parent: find.field("task_struct", &["real_parent"])?,
        task_comm: find.field("task_struct", &["comm"])?,
        task_signal: find.field("task_struct", &["signal"])?,
        task_exit_code: find.field("task_struct", &["exit_code"])?,
        task_loginuid: find.optional("task_struct", "loginuid"),
        task_sessionid: find.optional("task_struct", "sessionid"),
        task_mm: find.field("task_struct", &["mm"])?,
        mm_exe_file: find.field("mm_struct", &["exe_file"])?,
        file_inode: find.field("file", &["f_inode"])?,
        inode_number: find.field("inode", &["i_ino"])?,
        inode_sb: find.field("inode", &["i_sb"])?,
        sb_dev: find.field("super_block", &["s_dev"])?,
        signal_live: find.field("signal_struct", &["live"])?,
        signal_group_exit_code: find.field("signal_struct", &["group_exit_code"])?,
        signal_pids: find.field("signal_struct", &["pids"])?,
        siginfo_code: find.field("kernel_siginfo", &["si_code"])?,
        socket_sk: find.field("socket", &["sk"])?,
        sock_family: find.field("sock_common", &["skc_family"])?,
        sock_peer_pid: find.field("sock", &["sk_peer_pid"])?,
        unix_addr: find.field("unix_sock", &["addr"])?,
        unix_address_len: find.field("unix_address", &["len"])?,
        unix_address_name: find.field("unix_address", &["name"])?,
        pid_numbers: find.field("pid", &["numbers"])?,
        upid_nr: find.field("upid", &["nr"])?,
        msghdr_iter: find.field("msghdr", &["msg_iter"])?,
        iter_type: find.field("iov_iter", &["iter_type"])?,
        iter_iov: find.field("iov_iter", &["__iov", "iov"])?,
        iter_ubuf: find.field("iov_iter", &["ubuf"])?,
        iter_offset: find.field("iov_iter", &["iov_offset"])?,
        iter_type_iovec: find.enumerator("iter_type", "ITER_IOVEC")?,
        iter_type_ubuf: find.enumerator("iter_type", "ITER_UBUF")?,
        ..of_walls(&find)?
    })
}

/// What the walls beside that against signals need.
fn of_walls(find: &Finder<'_>) -> Result<Offsets, KernelError> {
    Ok(Offsets {
        unix_peer: find.field("unix_sock", &["peer"])?,
        unix_path: find.field("unix_sock", &["path"])?,
        path_dentry: find.field("path", &["dentry"])?,
        dentry_inode: find.field("dentry", &["d_inode"])?,
        dentry_parent: find.field("dentry", &["d_parent"])?,
        dentry_name: find.inner("dentry", &["d_name", "__d_name"], "qstr", "name")?,
        file_path: find.field("file", &["f_path", "__f_path"])?,
        task_ptrace: find.field("task_struct", &["ptrace"])?,
        mm_env_start: find.field("mm_struct", &["env_start"])?,
        mm_env_end: find.field("mm_struct", &["env_end"])?,
        sock_peer_cred: find.field("sock", &["sk_peer_cred"])?,
        cred_euid: find.field("cred", &["euid"])?,
        iter_segments: find.field("iov_iter", &["nr_segs"])?,
        task_flags: find.field("task_struct", &["flags"])?,
        signal_rlim: find.field("signal_struct", &["rlim"])?,
        fown_uid: find.field("fown_struct", &["uid"])?,
        sb_magic: find.field("super_block", &["s_magic"])?,
        sb_root: find.field("super_block", &["s_root"])?,
        file_mode: find.field("file", &["f_mode"])?,
        file_flags: find.field("file", &["f_flags"])?,
        module_name: find.field("module", &["name"])?,
        file_dentry: find.inner("file", &["f_path", "__f_path"], "path", "dentry")?,
        inode_mode: find.field("inode", &["i_mode"])?,
        inode_rdev: find.field("inode", &["i_rdev"])?,
        inode_links: find.field("inode", &["i_nlink", "__i_nlink"])?,
        inode_private: find.field("inode", &["i_private"])?,
        kernfs_parent: find.field("kernfs_node", &["__parent", "parent"])?,
        kernfs_name: find.field("kernfs_node", &["name"])?,
        kernfs_id: find.field("kernfs_node", &["id"])?,
        kernfs_priv: find.field("kernfs_node", &["priv"])?,
        cgroup_kn: find.field("cgroup", &["kn"])?,
        cgroup_root: find.field("cgroup", &["root"])?,
        cgroup_domain: find.field("cgroup", &["dom_cgrp"])?,
        cgroup_freeze: find.inner("cgroup", &["freezer"], "cgroup_freezer_state", "freeze")?,
        cgroup_root_hierarchy: find.field("cgroup_root", &["hierarchy_id"])?,
        cgroup_v1_freezer: find.controller("freezer_cgrp_id"),
        freezer_state: find.optional("freezer", "state"),
        proc_pid: find.field("proc_inode", &["pid"])?,
        proc_vfs_inode: find.field("proc_inode", &["vfs_inode"])?,
        pid_tasks: find.field("pid", &["tasks"])?,
        task_pid_links: find.field("task_struct", &["pid_links"])?,
        regs_syscall: find.optional("pt_regs", "orig_ax"),
        regs_second: find.optional("pt_regs", "si"),
        regs_third: find.optional("pt_regs", "dx"),
        path_mnt: find.field("path", &["mnt"])?,
        vfsmount_root: find.field("vfsmount", &["mnt_root"])?,
        mount_vfsmount: find.field("mount", &["mnt"])?,
        mount_ns: find.field("mount", &["mnt_ns"])?,
        mount_parent: find.field("mount", &["mnt_parent"])?,
        mount_share: find.field("mount", &["mnt_share"])?,
        mount_slave_list: find.field("mount", &["mnt_slave_list"])?,
        task_nsproxy: find.field("task_struct", &["nsproxy"])?,
        nsproxy_mnt_ns: find.field("nsproxy", &["mnt_ns"])?,
        mnt_namespace_ns: find.field("mnt_namespace", &["ns"])?,
        ns_common_inum: find.field("ns_common", &["inum"])?,
        user_ns_level: find.field("user_namespace", &["level"])?,
        bpf_map_id: find.field("bpf_map", &["id"])?,
        bpf_prog_aux: find.field("bpf_prog", &["aux"])?,
        bpf_prog_type: find.field("bpf_prog", &["type"])?,
        bpf_prog_len: find.field("bpf_prog", &["len"])?,
        bpf_prog_insns: find.field("bpf_prog", &["insnsi"])?,
        bpf_prog_aux_id: find.field("bpf_prog_aux", &["id"])?,
        binprm_file: find.field("linux_binprm", &["file"])?,
        ..of_other_doors(find)?
    })
}

/// What the doors beside those need: perf events, other BPF programs, cgroups by the
/// number of a thread.
fn of_other_doors(find: &Finder<'_>) -> Result<Offsets, KernelError> {
    Ok(Offsets {
        perf_event_attr: find.field("perf_event", &["attr"])?,
        perf_event_target: find.inner("perf_event", &["hw"], "hw_perf_event", "target")?,
        task_perf: find.field("task_struct", &["perf_event_ctxp"])?,
        task_perf_second: find.second_perf_context()?,
        perf_context_events: find.field("perf_event_context", &["nr_events"])?,
        sock_protocol: find.field("sock", &["sk_protocol"])?,
        skb_data: find.field("sk_buff", &["data"])?,
        skb_len: find.field("sk_buff", &["len"])?,
        fs_parameter_key: find.field("fs_parameter", &["key"])?,
        fs_context_root: find.field("fs_context", &["root"])?,
        bpf_prog_attach_type: find.field("bpf_prog", &["expected_attach_type"])?,
        bpf_prog_aux_attach: find.field("bpf_prog_aux", &["attach_btf_id"])?,
        sched_ext_ops: find.type_number("sched_ext_ops"),
        uprobe_pmu: uprobe_pmu(),
        regs_first: find.optional("pt_regs", "di"),
        regs_bx: find.optional("pt_regs", "bx"),
        regs_cx: find.optional("pt_regs", "cx"),
        task_status: find.thread_status(),
        task_thread_pid: find.field("task_struct", &["thread_pid"])?,
        pid_level: find.field("pid", &["level"])?,
        upid_ns: find.field("upid", &["ns"])?,
        pid_namespace_idr: find.field("pid_namespace", &["idr"])?,
        idr_head: find.inner("idr", &["idr_rt"], "xarray", "xa_head")?,
        xa_node_shift: find.field("xa_node", &["shift"])?,
        xa_node_slots: find.field("xa_node", &["slots"])?,
        clone_flags: find.field("kernel_clone_args", &["flags"])?,
        clone_cgroup: find.field("kernel_clone_args", &["cgrp"])?,
        bpf_prog_aux_maps: find.field("bpf_prog_aux", &["used_maps"])?,
        bpf_prog_aux_map_count: find.field("bpf_prog_aux", &["used_map_cnt"])?,
        bpf_map_type: find.field("bpf_map", &["map_type"])?,
        cgroup_memory: find.controller("memory_cgrp_id"),
        memory_usage: find
            .inner("mem_cgroup", &["memory"], "page_counter", "usage")
            .unwrap_or(OFFSET_ABSENT),
        cgroup_cpu: find.controller("cpu_cgrp_id"),
        cpu_period: find
            .inner("task_group", &["cfs_bandwidth"], "cfs_bandwidth", "period")
            .unwrap_or(OFFSET_ABSENT),
        task_files: find.field("task_struct", &["files"])?,
        task_worker: find.optional("task_struct", "worker_private"),
        io_worker_work: find.optional("io_worker", "cur_work"),
        io_request_work: find.optional("io_kiocb", "work"),
        io_request_operation: find.optional("io_kiocb", "opcode"),
        task_seccomp: find
            .inner("task_struct", &["seccomp"], "seccomp", "mode")
            .unwrap_or(OFFSET_ABSENT),
        files_count: find.field("files_struct", &["count"])?,
        files_table: find.field("files_struct", &["fdt"])?,
        fdtable_max: find.field("fdtable", &["max_fds"])?,
        fdtable_files: find.field("fdtable", &["fd"])?,
        ..Offsets::default()
    })
}

/// The kind of a perf event that is a breakpoint in a program: the kernel numbers
/// such kinds as they come.
fn uprobe_pmu() -> u32 {
    let kind = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type");
    kind.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(OFFSET_ABSENT)
}

/// The number of a kernel function's type, by which a BPF program calls it;
/// `None` where there is no such function.
pub(super) fn function(name: &str) -> Option<u32> {
    let btf = Btf::from_file(BTF_PATH).ok()?;
    btf.resolve_ids_by_name(name).ok()?.into_iter().next()
}

struct Finder<'a> {
    btf: &'a Btf,
}

impl Finder<'_> {
    /// Byte offset of the first of `names` that the struct has; several are
    /// the names that one field had over time.
    fn field(&self, of: &str, names: &[&str]) -> Result<u32, KernelError> {
        names
            .iter()
            .find_map(|name| self.lookup(of, name))
            .ok_or_else(|| KernelError::MissingField {
                what: format!("{of}.{}", names.join("/")),
            })
    }

    /// Where a cgroup keeps what a controller knows of it: kernels without that
    /// controller have no such place.
    fn controller(&self, name: &str) -> u32 {
        let number = self.enumerator("cgroup_subsys_id", name);
        match (self.lookup("cgroup", "subsys"), number) {
            (Some(all), Ok(number)) => all + number * POINTER_LEN,
            _ => OFFSET_ABSENT,
        }
    }

    /// Byte offset of a field of a struct that is itself a field.
    fn inner(&self, of: &str, names: &[&str], inner: &str, name: &str) -> Result<u32, KernelError> {
        Ok(self.field(of, names)? + self.field(inner, &[name])?)
    }

    /// Byte offset of a field that only attribution uses.
    fn optional(&self, of: &str, name: &str) -> u32 {
        self.lookup(of, name).unwrap_or(OFFSET_ABSENT)
    }

    /// Where a task has what the kernel notes of its running system call: x86 alone.
    fn thread_status(&self) -> u32 {
        let info = self.lookup("task_struct", "thread_info");
        let status = self.lookup("thread_info", "status");
        info.zip(status)
            .map_or(OFFSET_ABSENT, |(info, status)| info + status)
    }

    /// Where a task has its second context of perf events: a kernel that numbers them has
    /// two, one beside the other. Else the one that it has.
    fn second_perf_context(&self) -> Result<u32, KernelError> {
        let number = self.enumerator("perf_event_task_context", "perf_sw_context");
        let first = self.field("task_struct", &["perf_event_ctxp"])?;
        Ok(first + number.unwrap_or(0) * POINTER_LEN)
    }

    /// The number of a struct's type; none where this kernel does not have it.
    fn type_number(&self, name: &str) -> u32 {
        let numbers = self.btf.resolve_ids_by_name(name).unwrap_or_default();
        let is_struct = |number: &u32| {
            matches!(
                self.btf.resolve_type_by_id(*number),
                Ok(Type::Struct(found)) if !found.members.is_empty()
            )
        };
        numbers.into_iter().find(is_struct).unwrap_or(OFFSET_ABSENT)
    }

    fn lookup(&self, of: &str, name: &str) -> Option<u32> {
        let types = self.btf.resolve_types_by_name(of).ok()?;
        types.iter().find_map(|ty| self.in_type(ty, name))
    }

    /// Looks into anonymous members too: their fields count as the parent's.
    fn in_type(&self, ty: &Type, name: &str) -> Option<u32> {
        let (Type::Struct(s) | Type::Union(s)) = ty else {
            return None;
        };
        s.members.iter().find_map(|member| {
            let at = member.bit_offset() / 8;
            let own = self.btf.resolve_name(member).unwrap_or_default();
            if own == name {
                // A bit field has no byte address to read.
                return (member.bit_offset() % 8 == 0 && member.bitfield_size().unwrap_or(0) == 0)
                    .then_some(at);
            }
            if !own.is_empty() {
                return None;
            }
            let inner = self.btf.resolve_type_by_id(member.get_type_id()?).ok()?;
            self.in_type(&inner, name).map(|offset| at + offset)
        })
    }

    fn enumerator(&self, of: &str, name: &str) -> Result<u32, KernelError> {
        let missing = || KernelError::MissingField {
            what: format!("enum {of} {name}"),
        };
        let types = self.btf.resolve_types_by_name(of).unwrap_or_default();
        types
            .iter()
            .filter_map(|ty| {
                if let Type::Enum(e) = ty {
                    Some(e)
                } else {
                    None
                }
            })
            .flat_map(|e| &e.members)
            .find(|m| self.btf.resolve_name(*m).is_ok_and(|n| n == name))
            .map(btf_rs::EnumMember::val)
            .ok_or_else(missing)
    }
}
