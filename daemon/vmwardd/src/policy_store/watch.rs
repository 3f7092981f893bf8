//! Notices that a file may have changed.
//!
//! The folder is watched and not the file: editors and configuration tools put
//! a new file in the old one's place, and a watch on the old one would then
//! watch nothing. Where the name is a symbolic link, the folders that it leads
//! through are watched too. What a watch cannot see (a folder that was swapped
//! as a whole, a file on a network) is noticed by looking every few seconds.
//!
//! A hint says only that it is worth looking; the [`Fingerprint`] says whether
//! anything changed.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver as Watch;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Look at least this often, whatever the watch says.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A change is over when nothing happened for this long.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that is never quiet is looked at all the same.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Room for some hundred events, and for the longest one.
const EVENTS_BYTES: usize = 4096;
/// Most symbolic links that are followed.
const LINKS_MAX: usize = 8;

/// Which file a name leads to, and its last change; equal where nothing has
/// changed. `None` where there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Option<[i128; 4]>);

impl Fingerprint {
    /// Looks at a file, through symbolic links.
    pub fn of(path: &Path) -> Fingerprint {
        let ns = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        // The time of change moves with every write and every chmod, and nobody
        // can set it back.
        Fingerprint(std::fs::metadata(path).ok().map(|meta| {
            [
                i128::from(meta.dev()),
                i128::from(meta.ino()),
                i128::from(meta.size()),
                ns(meta.ctime(), meta.ctime_nsec()),
            ]
        }))
    }
}

/// Hints that the file may have changed and is quiet now: the first one at
/// once, then after each change, and every `look_every`. Ends when nobody
/// listens. Must be called on the runtime.
pub fn hints(path: PathBuf, look_every: Duration) -> mpsc::Receiver<()> {
    let (tell, hints) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut complained = false;
        loop {
            // Before the hint, so that nothing falls between looking and
            // watching.
            let watch = watch(&path);
            if tell.send(()).await.is_err() {
                return;
            }
            match watch {
                Ok(mut watch) => settled(&mut watch, look_every).await,
                Err(error) => {
                    if !complained {
                        tracing::warn!(
                            path = %path.display(),
                            %error,
                            "changes are not noticed at once, only every few seconds"
                        );
                    }
                    complained = true;
                    sleep(look_every).await;
                }
            }
        }
    });
    hints
}

/// Waits for a change and for the quiet after it, or until it is time to look.
async fn settled(watch: &mut Watch, look_every: Duration) {
    if timeout(look_every, stirred(watch)).await.is_err() {
        return;
    }
    let latest = Instant::now() + QUIET_MAX;
    loop {
        let quiet = latest.min(Instant::now() + QUIET);
        if timeout_at(quiet, stirred(watch)).await.is_err() {
            return;
        }
    }
}

/// Waits until something happens in a watched folder.
async fn stirred(watch: &mut Watch) {
    // What happened does not matter: it is a reason to look.
    if watch.read(&mut [0; EVENTS_BYTES]).await.is_err() {
        // Looking is the answer to a watch that fails, too, but not at once.
        sleep(QUIET_MAX).await;
    }
}

/// Watches every folder that the name leads through.
fn watch(path: &Path) -> io::Result<Watch> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let events = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    for folder in folders(path) {
        inotify.add_watch(&folder, events)?;
    }
    // To the runtime it is one more descriptor that is read when it is ready.
    Watch::from_owned_fd_unchecked(inotify.into())
}

fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut path = path.to_owned();
    for _ in 0..=LINKS_MAX {
        let Some(folder) = path.parent().map(Path::to_owned) else {
            break;
        };
        let target = std::fs::read_link(&path);
        folders.insert(folder.clone());
        match target {
            Ok(target) => path = folder.join(target),
            Err(_no_link) => break,
        }
    }
    folders
}

#[cfg(test)]
mod tests;
