//! Notices that a unit comes up, so that the rule that names it holds for the
//! first thing that it does: libvirt-guests has a cgroup only when the host is
//! on its way down, and sends its first order within the second.
//!
//! A hint only. What a watch misses is found when everybody is looked up again.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver as Watch;
use tokio::time::sleep;

use super::{CGROUPS, slices};
use crate::engine_task::{EngineHandle, Message};

/// Room for some dozen events, and for the longest one.
const EVENTS_BYTES: usize = 4096;
/// How long to do without a watch after one has failed.
const AGAIN: Duration = Duration::from_secs(10);

/// Tells the engine of every folder that comes or goes in a slice. Must be called
/// on the runtime, and lives as long as it.
pub fn start(engine: EngineHandle) {
    tokio::spawn(async move {
        loop {
            if let Err(error) =
                follow(Path::new(CGROUPS), || engine.offer(Message::Units).is_ok()).await
            {
                tracing::debug!(%error, "units are not noticed at once, only every two seconds");
            }
            sleep(AGAIN).await;
        }
    });
}

/// Calls `tell` for whatever happens in a slice.
async fn follow(root: &Path, tell: impl Fn() -> bool) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    add(&inotify, root)?;
    // To the runtime it is one more descriptor that is read when it is ready.
    let mut events = Watch::from_owned_fd_unchecked(inotify_of(&inotify)?)?;
    loop {
        if events.read(&mut [0; EVENTS_BYTES]).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // First, since it is urgent. A queue that is full is worked off anyhow.
        let _full = tell();
        // A slice that is new has things happening in it, too.
        add(&inotify, root)?;
    }
}

fn inotify_of(inotify: &Inotify) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::AsFd;

    inotify.as_fd().try_clone_to_owned()
}

/// Watches every slice; a slice that is watched already stays so.
fn add(inotify: &Inotify, root: &Path) -> io::Result<()> {
    let events = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_ONLYDIR;
    for slice in slices(root) {
        match inotify.add_watch(&slice, events) {
            // Gone again.
            Ok(_) | Err(nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::follow;

    #[tokio::test]
    async fn a_unit_is_noticed_also_in_a_slice_that_came_later() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        fs::create_dir(root.join("system.slice")).unwrap();
        let (tell, mut told) = mpsc::channel(16);
        let watched = root.clone();
        tokio::spawn(async move { follow(&watched, || tell.try_send(()).is_ok()).await });
        // It is watched from some moment on.
        let late = Duration::from_secs(10);
        let mut number = 0;
        let mut seen = async |folder: &str| {
            timeout(late, async {
                loop {
                    number += 1;
                    fs::create_dir(root.join(folder).join(format!("{number}.service"))).unwrap();
                    if timeout(Duration::from_millis(100), told.recv())
                        .await
                        .is_ok()
                    {
                        return;
                    }
                }
            })
            .await
            .expect("it is noticed");
            // What is still on its way belongs to this one.
            while timeout(Duration::from_millis(200), told.recv())
                .await
                .is_ok()
            {}
        };
        seen("system.slice").await;
        fs::create_dir(root.join("system.slice/late.slice")).unwrap();
        seen("system.slice/late.slice").await;
    }
}
