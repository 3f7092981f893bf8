use std::os::unix::fs::symlink;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
/// So long that only the watch can have been it.
const NEVER: Duration = Duration::from_hours(1);

/// Hints of a name, the first one taken, and how to wait for the next.
struct Watched {
    path: PathBuf,
    seen: Fingerprint,
    hints: mpsc::Receiver<()>,
}

impl Watched {
    async fn start(path: PathBuf, look_every: Duration) -> Watched {
        let mut hints = hints(path.clone(), look_every);
        hints.recv().await.unwrap();
        Watched {
            seen: Fingerprint::of(&path),
            path,
            hints,
        }
    }

    /// Waits for a hint with which the file is another than before.
    #[track_caller]
    fn changes(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let changed = async {
                while Fingerprint::of(&self.path) == self.seen {
                    self.hints.recv().await.unwrap();
                }
            };
            let outcome = timeout(DEADLINE, changed).await;
            assert!(outcome.is_ok(), "no hint for the change at {caller}");
            self.seen = Fingerprint::of(&self.path);
        }
    }

    /// A hint that comes after the change is over.
    async fn hint(&mut self) {
        timeout(DEADLINE, self.hints.recv()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn every_way_to_change_a_file_is_noticed_and_none_ends_the_watch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.json");
    std::fs::write(&path, "one").unwrap();
    let mut watched = Watched::start(path.clone(), NEVER).await;
    for round in 0..2 {
        std::fs::write(&path, format!("in place {round}")).unwrap();
        watched.hint().await;
        watched.changes().await;

        let new = dir.path().join("policy.json.new");
        std::fs::write(&new, format!("renamed over {round}")).unwrap();
        std::fs::rename(&new, &path).unwrap();
        watched.hint().await;
        watched.changes().await;

        std::fs::remove_file(&path).unwrap();
        watched.hint().await;
        assert_eq!(Fingerprint::of(&path), Fingerprint(None));
        watched.changes().await;

        std::fs::write(&path, "back").unwrap();
        watched.hint().await;
        watched.changes().await;
    }
}

#[tokio::test]
async fn a_link_is_followed_to_where_the_file_is_edited_and_where_it_is_swapped() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for version in ["..1", "..2"] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("policy.json"), version).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.json", at("policy.json")).unwrap();
    let mut watched = Watched::start(at("policy.json"), NEVER).await;

    std::fs::write(at("..1/policy.json"), "edited").unwrap();
    watched.hint().await;
    watched.changes().await;

    symlink("..2", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    watched.hint().await;
    watched.changes().await;

    std::fs::write(at("..2/policy.json"), "edited after the swap").unwrap();
    watched.hint().await;
    watched.changes().await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_looked_at_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("etc");
    let path = folder.join("policy.json");
    let mut watched = Watched::start(path.clone(), Duration::from_millis(20)).await;
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(&path, "one").unwrap();
    watched.changes().await;
}

#[test]
fn a_write_a_chmod_and_another_file_change_the_fingerprint_and_reading_does_not() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.json");
    std::fs::write(&path, "one").unwrap();
    let first = Fingerprint::of(&path);
    std::fs::read(&path).unwrap();
    assert_eq!(Fingerprint::of(&path), first);
    std::fs::write(&path, "longer").unwrap();
    let second = Fingerprint::of(&path);
    assert_ne!(second, first);
    let other = dir.path().join("other");
    std::fs::write(&other, "longer").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert_ne!(Fingerprint::of(&path), second);
}
