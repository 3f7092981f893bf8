//! Requests for approval of which the `notify` command must be told although it missed
//! that they were opened.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use vmward_core::audit::AuditBody;
use vmward_core::grant::Grants;

use super::*;
use crate::connection::Service;
use crate::feed::Feed;
use crate::identity::account::AccountBook;
use crate::notice::{self, NoticeCommand};
use crate::socket::Door;

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "start_vm": {"action": "require_approval"},
    "count_vms": {"action": "require_approval"}
}}"#;
const DEADLINE: Duration = Duration::from_secs(30);
/// More records than a listener may be behind.
const BURST: usize = 5000;

/// A command that writes down each request that it is told of.
fn command(dir: &Path) -> NoticeCommand {
    let program = dir.join("tell");
    std::fs::write(&program, "#!/bin/sh\n/usr/bin/cat >>\"$1\"\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let words = [program, dir.join("told")].map(|path| path.display().to_string());
    NoticeCommand::new(words.into()).unwrap()
}

/// The numbers of the requests that it was told of.
fn told(dir: &Path) -> Vec<u64> {
    let lines = std::fs::read_to_string(dir.join("told")).unwrap_or_default();
    let requests = lines.lines().filter_map(|line| {
        let request: Value = serde_json::from_str(line).ok()?;
        request["id"].as_u64()
    });
    requests.collect()
}

async fn wait_for(dir: &Path, ids: &[u64]) {
    let began = Instant::now();
    while told(dir) != ids {
        assert!(began.elapsed() < DEADLINE, "{:?}, not {ids:?}", told(dir));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Has a request opened, and its record passed on, while no task of the runtime runs.
fn open(service: &Service, tool: &str) -> u64 {
    let mut subscription = service.feed.subscribe(Door::Admin, 0).unwrap();
    let (call, mut answer) = call_by(1000, tool);
    service.engine.offer(call).unwrap();
    let began = Instant::now();
    let id = loop {
        assert!(began.elapsed() < DEADLINE, "no answer");
        match answer.try_recv() {
            Ok(answer) => break answer.unwrap().approval.unwrap().id,
            Err(_not_yet) => std::thread::yield_now(),
        }
    };
    service.engine.answered();
    loop {
        assert!(began.elapsed() < DEADLINE, "no record");
        match subscription.records.try_recv() {
            Ok(record) if matches!(record.body, AuditBody::Approval(_)) => {
                return id;
            }
            _ => std::thread::yield_now(),
        }
    }
}

fn serve(shell: Shell) -> (Service, JoinHandle<()>) {
    let feed: Arc<Feed> = shell.feed();
    let (engine, thread) = spawn(shell).unwrap();
    let service = Service {
        engine,
        counters: Arc::default(),
        book: Arc::new(AccountBook::new(Grants::default())),
        feed,
    };
    (service, thread)
}

#[tokio::test]
async fn what_waits_when_the_daemon_starts_and_what_a_burst_hides_are_told_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let mut former = shell_with(dir.path(), POLICY);
    let waits = ask(&mut former, 1000, "start_vm").unwrap();
    let first = waits.approval.unwrap().id;
    former.finish();
    drop(former);

    let (service, thread) = serve(shell_with(dir.path(), POLICY));
    notice::start(command(dir.path()), &service);
    wait_for(dir.path(), &[first]).await;

    let second = open(&service, "count_vms");
    let filler = AuditBody::daemon("filler", None);
    for _ in 0..BURST {
        service.feed.publish(&filler, "{}");
    }
    wait_for(dir.path(), &[first, second]).await;

    let (reply, stopped) = oneshot::channel();
    service.engine.offer(Message::Stop(reply)).unwrap();
    stopped.await.unwrap();
    thread.join().unwrap();
}
