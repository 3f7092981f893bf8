//! Notices that a status file was written. A hint only: what it misses is found when
//! everything is looked at again.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::super::lines::{pause, pause_or};

/// What libvirt does to a file that it has written anew, and what others might do.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_MOVED_TO
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ONLYDIR);

/// The watch on the folder, where there is one.
#[derive(Debug, Default)]
pub(super) struct Changes {
    inotify: Option<Inotify>,
    complained: bool,
}

impl Changes {
    /// Watches the folder, also where another has taken its place.
    pub(super) fn watch(&mut self, folder: &Path) {
        if self.inotify.is_none() {
            match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => return self.complain(error),
            }
        }
        let Some(inotify) = &self.inotify else { return };
        match inotify.add_watch(folder, EVENTS) {
            // libvirt has not run yet.
            Ok(_) | Err(nix::errno::Errno::ENOENT) => self.complained = false,
            Err(error) => self.complain(error),
        }
    }

    fn complain(&mut self, error: nix::errno::Errno) {
        if !self.complained {
            tracing::warn!(%error, "starting VMs are not noticed at once, only every second");
        }
        self.complained = true;
    }

    /// Waits for a change, or for so long; true when the other end of `stop` was
    /// closed meanwhile.
    pub(super) fn wait(&self, stop: &UnixStream, limit: Duration) -> bool {
        let Some(inotify) = &self.inotify else {
            return pause(stop, limit);
        };
        let stopped = pause_or(stop, inotify.as_fd(), limit);
        // What happened does not matter: everything is looked at.
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        stopped
    }
}
