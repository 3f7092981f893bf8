//! The client against a fake daemon: a listener that answers each line with
//! what the test says.

use std::{
    io::{BufRead, BufReader},
    os::unix::net::UnixListener,
};

use serde_json::json;

use super::*;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

/// Serves one connection; the socket lives as long as the returned folder.
fn fake_daemon(
    answer: impl Fn(&Value) -> Option<String> + Send + 'static,
) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 0 {
            let request = serde_json::from_str(&line).unwrap();
            match answer(&request) {
                Some(text) => writer.write_all(text.as_bytes()).unwrap(),
                None => return,
            }
            line.clear();
        }
    });
    (folder, path)
}

#[test]
fn a_call_returns_the_result_that_carries_its_id() {
    let (_folder, path) = fake_daemon(|request| {
        assert_eq!(request["method"], "lease.release");
        let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": {"ok": true}});
        Some(format!("{answer}\n"))
    });
    let mut client = Client::connect(&path, LONG).unwrap();
    assert!(client.release(7).unwrap().ok);
    assert!(client.release(8).unwrap().ok);
}

#[test]
fn a_lease_is_given_back_although_the_report_is_refused() {
    let (sender, asked) = mpsc::channel();
    let (_folder, path) = fake_daemon(move |request| {
        let method = request["method"].as_str().unwrap().to_owned();
        let mut answer = json!({"jsonrpc": "2.0", "id": request["id"]});
        if method == "complete" {
            answer["error"] = json!({"code": -32005, "message": "decision 7 is not known"});
        } else {
            answer["result"] = json!({"ok": true});
        }
        sender.send(method).unwrap();
        Some(format!("{answer}\n"))
    });
    let params = CompleteParams {
        decision_id: 7,
        outcome: crate::v1::Outcome::Failed,
        detail: None,
    };
    let mut client = Client::connect(&path, LONG).unwrap();
    let error = client.settle(&params, Some(7)).expect_err("the report's");
    assert!(error.to_string().contains("not known"), "{error}");
    let both: Vec<String> = asked.try_iter().collect();
    assert_eq!(both, ["complete", "lease.release"]);
    assert!(client.settle(&params, None).is_err());
    assert_eq!(
        asked.try_iter().count(),
        1,
        "no lease, nothing to give back"
    );
}

#[test]
fn an_answer_with_another_id_is_not_taken() {
    let (_folder, path) =
        fake_daemon(|_| Some("{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{\"ok\":true}}\n".into()));
    let error = Client::connect(&path, LONG)
        .unwrap()
        .release(7)
        .expect_err("must fail");
    assert!(matches!(error, ClientError::Garbled { .. }), "{error}");
    assert!(!error.is_unreachable());
}

#[test]
fn an_error_answer_keeps_its_code_and_message() {
    let (_folder, path) = fake_daemon(|_| {
        let error = ErrorObject::new(crate::rpc::ErrorCode::TooBusy, "64 connections are open");
        let answer = serde_json::to_string(&Response::error(None, error)).unwrap();
        Some(format!("{answer}\n"))
    });
    let error = Client::connect(&path, LONG)
        .unwrap()
        .status()
        .expect_err("must fail");
    assert_eq!(
        error.to_string(),
        "vmwardd refused the request: 64 connections are open (code -32002)"
    );
}

#[test]
fn a_daemon_that_hangs_is_given_up_at_the_deadline() {
    let (_folder, path) = fake_daemon(|_| Some(String::new()));
    let error = Client::connect(&path, SHORT)
        .unwrap()
        .status()
        .expect_err("must fail");
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    assert!(error.is_unreachable());
}

#[test]
fn a_daemon_that_closes_is_told_apart_from_one_that_hangs() {
    let (_folder, path) = fake_daemon(|_| None);
    let error = Client::connect(&path, LONG)
        .unwrap()
        .status()
        .expect_err("must fail");
    assert!(
        matches!(error, ClientError::Closed | ClientError::Lost { .. }),
        "{error}"
    );
}

#[test]
fn no_socket_and_a_stale_socket_both_say_that_no_daemon_runs() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.sock");
    let stale = folder.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    for path in [missing, stale] {
        let error = Client::connect(&path, LONG).expect_err("must fail");
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("No vmwardd at {}", path.display())),
            "{text}"
        );
        assert!(text.contains("systemctl start vmwardd"), "{text}");
    }
}

#[test]
fn a_socket_without_permission_names_the_group() {
    // Made by hand: root, whom no mode keeps out, runs this test too.
    let denied = io::Error::from(ErrorKind::PermissionDenied);
    let error = connect_error(Path::new("/run/vmward/policy.sock"), denied);
    let text = error.to_string();
    assert!(
        text.starts_with("No permission for /run/vmward/policy.sock"),
        "{text}"
    );
    assert!(text.contains("group vmward"), "{text}");
}

#[test]
fn a_request_longer_than_a_frame_is_not_sent() {
    let (_folder, path) = fake_daemon(|_| None);
    let params = AuthorizeParams {
        reason: Some("x".repeat(70_000)),
        ..AuthorizeParams::default()
    };
    let error = Client::connect(&path, LONG)
        .unwrap()
        .authorize(&params)
        .expect_err("must fail");
    assert!(matches!(error, ClientError::Encode { .. }), "{error}");
}
