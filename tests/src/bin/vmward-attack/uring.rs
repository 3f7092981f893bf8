//! Operations by `io_uring`, one at a time, each waited for.

use std::io;

use nix::errno::Errno;

/// The kernel has a thread that looks for operations.
pub(crate) const SETUP_SQPOLL: u32 = 2;
pub(crate) const OP_CONNECT: u8 = 16;
pub(crate) const OP_OPENAT: u8 = 18;
pub(crate) const OP_WRITE: u8 = 23;
pub(crate) const OP_MADVISE: u8 = 25;
pub(crate) const OP_SEND: u8 = 26;
pub(crate) const OP_FSETXATTR: u8 = 41;
/// The descriptor is the number of a registered file.
pub(crate) const FIXED_FILE: u8 = 1;

const REGISTER_FILES: u32 = 2;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const OFF_SQ_RING: i64 = 0;
const OFF_CQ_RING: i64 = 0x0800_0000;
const OFF_SQES: i64 = 0x1000_0000;
/// Entries for operations; the kernel makes twice as many for results.
const ENTRIES: u32 = 4;
/// Lengths of an entry, and of a result.
const SQE_LEN: usize = 64;
const CQE_LEN: usize = 16;
/// `struct io_uring_params`, in words: flags are the third, the offsets of the
/// submission ring start at the eleventh, those of the completion ring at the
/// twenty-first.
const PARAMS_LEN: usize = 30;
const PAGE: usize = 4096;

/// What is to be done. `fd`, `addr`, `len`, `off` and `op_flags` mean what the
/// operation says.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) op: u8,
    pub(crate) flags: u8,
    pub(crate) fd: i32,
    pub(crate) off: u64,
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) op_flags: u32,
}

/// A ring. It lives until the process ends.
pub(crate) struct Ring {
    fd: i32,
    params: [u32; PARAMS_LEN],
    submission: *mut u8,
    completion: *mut u8,
    entries: *mut u8,
    done: u32,
}

impl Ring {
    #[expect(unsafe_code, reason = "no safe wrapper")]
    pub(crate) fn new(flags: u32) -> io::Result<Self> {
        let mut params = [0_u32; PARAMS_LEN];
        params[2] = flags;
        // SAFETY: the array is as long as the kernel's structure.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) };
        let fd = i32::try_from(Errno::result(fd)?).map_err(io::Error::other)?;
        Ok(Self {
            fd,
            params,
            submission: map(fd, OFF_SQ_RING)?,
            completion: map(fd, OFF_CQ_RING)?,
            entries: map(fd, OFF_SQES)?,
            done: 0,
        })
    }

    /// Registers a file: its number is 0.
    #[expect(unsafe_code, reason = "no safe wrapper")]
    pub(crate) fn register(&self, fd: i32) -> io::Result<()> {
        let call = libc::SYS_io_uring_register;
        // SAFETY: one number, which the kernel only reads.
        let done = unsafe { libc::syscall(call, self.fd, REGISTER_FILES, &raw const fd, 1) };
        Ok(Errno::result(done).map(drop)?)
    }

    /// Does it, and gives what the system call of its kind would.
    #[expect(unsafe_code, reason = "no safe wrapper")]
    pub(crate) fn submit(&mut self, entry: &Entry) -> io::Result<usize> {
        let place = (self.done % ENTRIES) as usize;
        let at = place * SQE_LEN;
        put(self.entries, at, entry.op);
        put(self.entries, at + 1, entry.flags);
        put(self.entries, at + 4, entry.fd);
        put(self.entries, at + 8, entry.off);
        put(self.entries, at + 16, entry.addr);
        put(self.entries, at + 24, entry.len);
        put(self.entries, at + 28, entry.op_flags);
        let (tail, array) = (self.params[11] as usize, self.params[16] as usize);
        put(self.submission, array + place * 4, self.done % ENTRIES);
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        put(self.submission, tail, self.done + 1);
        let flags = if self.params[2] & SETUP_SQPOLL == 0 {
            ENTER_GETEVENTS
        } else {
            ENTER_GETEVENTS | ENTER_SQ_WAKEUP
        };
        let call = libc::SYS_io_uring_enter;
        // SAFETY: integers and a null pointer.
        let entered = unsafe { libc::syscall(call, self.fd, 1, 1, flags, 0, 0) };
        Errno::result(entered)?;
        self.result()
    }

    fn result(&mut self) -> io::Result<usize> {
        let [head, tail] = [20, 21].map(|word| self.params[word] as usize);
        let results = self.params[25] as usize;
        let ready: u32 = get(self.completion, tail);
        if ready == self.done {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let place = (self.done % (2 * ENTRIES)) as usize;
        let result: i32 = get(self.completion, results + place * CQE_LEN + 8);
        self.done += 1;
        // Taken: else the next wait would be over at once.
        put(self.completion, head, self.done);
        usize::try_from(result).map_err(|_negative| io::Error::from_raw_os_error(-result))
    }
}

/// Writes into a page that [`map`] gave.
#[expect(unsafe_code, reason = "io_uring is shared memory")]
fn put<T>(page: *mut u8, at: usize, value: T) {
    let place = page.wrapping_add(at).cast::<T>();
    // SAFETY: the offsets are the kernel's, aligned and within what it mapped;
    // nobody else of this process looks at it.
    unsafe { place.write_volatile(value) };
}

/// Reads from a page that [`map`] gave.
#[expect(unsafe_code, reason = "io_uring is shared memory")]
fn get<T>(page: *mut u8, at: usize) -> T {
    let place = page.wrapping_add(at).cast::<T>();
    // SAFETY: as above.
    unsafe { place.read_volatile() }
}

/// A page of a ring.
#[expect(unsafe_code, reason = "io_uring is shared memory")]
fn map(ring: i32, at: i64) -> io::Result<*mut u8> {
    let (null, both) = (std::ptr::null_mut(), libc::PROT_READ | libc::PROT_WRITE);
    let shared = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a new mapping, wherever the kernel puts it.
    let place = unsafe { libc::mmap(null, PAGE, both, shared, ring, at) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(place.cast())
}
