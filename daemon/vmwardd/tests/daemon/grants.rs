//! Whose account a call is charged to, and that nobody gets another's.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use vmward_core::grant::TokenHash;

use crate::harness::{self, Daemon, Options};

const TOKEN: &str = "vmwt_0123456789abcdef";
const NOT_YOURS: i32 = -32006;

/// The grants `ci` (by token), `other` (another user's), `me` (this user's) and
/// `bound` (this token, another user).
fn daemon() -> Daemon {
    let me = nix::unistd::geteuid().as_raw();
    let (ci, bound) = (TokenHash::of(TOKEN), TokenHash::of("vmwt_bound"));
    Daemon::start(&Options {
        more: format!(
            "[[grants]]\nname = \"ci\"\ntoken-sha256 = \"{ci}\"\n\
             [[grants]]\nname = \"other\"\nuid = {}\n\
             [[grants]]\nname = \"me\"\nuid = {me}\n\
             [[grants]]\nname = \"bound\"\nuid = {}\ntoken-sha256 = \"{bound}\"\n",
            me + 1,
            me + 1
        ),
        ..Options::default()
    })
}

/// One connection that is used again and again.
struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    fn open(daemon: &Daemon) -> Connection {
        Connection {
            stream: BufReader::new(UnixStream::connect(daemon.socket()).unwrap()),
        }
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.stream.get_mut(), "{request}").unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The grant that `hello` gives, or the error's number.
    fn hello(&mut self, claim: &Value) -> Result<String, i64> {
        let mut params = json!({"version": 1});
        params
            .as_object_mut()
            .unwrap()
            .extend(claim.as_object().unwrap().clone());
        let answer = self.call("hello", &params);
        match answer["result"]["grant"].as_str() {
            Some(grant) => Ok(grant.to_owned()),
            None => Err(answer["error"]["code"].as_i64().unwrap()),
        }
    }

    /// The key of the counter that a stop is charged to, and what is left.
    fn stop(&mut self) -> (String, u64) {
        let answer = self.call(
            "authorize",
            &json!({"tool": "vm_stop", "arguments": {"identifier": "test"}}),
        );
        let limit = &answer["result"]["limits"][0];
        (
            limit["key"].as_str().unwrap().to_owned(),
            limit["remaining"].as_u64().unwrap(),
        )
    }
}

#[test]
fn a_call_is_charged_to_the_grant_of_the_token_or_of_the_kernels_credentials() {
    let daemon = daemon();
    let mut silent = Connection::open(&daemon);
    assert_eq!(silent.stop(), ("grant:me".to_owned(), 9));
    let mut ci = Connection::open(&daemon);
    assert_eq!(ci.hello(&json!({"token": TOKEN})).as_deref(), Ok("ci"));
    assert_eq!(
        ci.stop(),
        ("grant:ci".to_owned(), 9),
        "an account of its own"
    );
    let mut named = Connection::open(&daemon);
    assert_eq!(named.hello(&json!({"grant": "me"})).as_deref(), Ok("me"));
    assert_eq!(named.stop(), ("grant:me".to_owned(), 8));
    let grants: Vec<Value> = daemon
        .decisions()
        .iter()
        .map(|record| record["caller"]["grant"].clone())
        .collect();
    assert_eq!(grants, ["me", "ci", "me"], "{:?}", daemon.decisions());
}

#[test]
fn a_grant_that_is_not_the_callers_is_refused_counted_and_its_token_not_shown() {
    let daemon = daemon();
    let claims = [
        json!({"grant": "other"}),
        json!({"grant": "ci"}),
        json!({"grant": "uid:0"}),
        json!({"grant": "no-such-grant"}),
        json!({"token": "vmwt_guessed"}),
        json!({"token": ""}),
        json!({"token": "vmwt_bound"}),
        json!({"token": TOKEN, "grant": "other"}),
    ];
    for claim in &claims {
        let refused = Connection::open(&daemon).hello(claim);
        assert_eq!(refused, Err(i64::from(NOT_YOURS)), "{claim}");
    }
    let refused =
        Connection::open(&daemon).call("hello", &json!({"version": 1, "token": "vmwt_guessed"}));
    let text = refused.to_string() + &daemon.log();
    assert!(!text.contains("guessed"), "{text}");
    assert!(daemon.log().contains("a grant was refused"));
    let counted = daemon.status().counters["grants-refused"];
    assert_eq!(counted, claims.len() as u64 + 1);
}

#[test]
fn a_connection_keeps_the_account_of_its_first_call() {
    let daemon = daemon();
    let mut connection = Connection::open(&daemon);
    assert_eq!(connection.stop().0, "grant:me");
    let late = connection.hello(&json!({"token": TOKEN}));
    assert_eq!(late, Err(i64::from(NOT_YOURS)));
    assert_eq!(connection.hello(&json!({})).as_deref(), Ok("me"));
    assert_eq!(connection.stop().0, "grant:me");

    let mut other = Connection::open(&daemon);
    assert!(other.hello(&json!({"token": "vmwt_guessed"})).is_err());
    assert_eq!(other.hello(&json!({"token": TOKEN})).as_deref(), Ok("ci"));
    assert_eq!(other.hello(&json!({})).as_deref(), Ok("ci"));
    assert!(other.hello(&json!({"grant": "me"})).is_err());
    assert_eq!(other.stop().0, "grant:ci");
}

#[test]
fn a_decision_can_be_reported_on_only_by_its_grant() {
    let daemon = daemon();
    let mut ci = Connection::open(&daemon);
    ci.hello(&json!({"token": TOKEN})).unwrap();
    let call = json!({"tool": "vm_stop", "arguments": {"identifier": "test"}});
    let id = ci.call("authorize", &call)["result"]["decision_id"].clone();
    let report = json!({"decision_id": id, "outcome": "stopped"});
    let stranger = Connection::open(&daemon).call("complete", &report);
    assert_eq!(stranger["error"]["code"], NOT_YOURS, "{stranger}");
    assert_eq!(ci.call("complete", &report)["result"]["ok"], true);
}

#[test]
fn a_configuration_with_a_bad_grant_or_open_to_other_writers_ends_with_78() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let check = |more: &str, mode: u32| {
        let config = harness::write_config(
            dir.path(),
            &Options {
                more: more.to_owned(),
                ..Options::default()
            },
        );
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(mode)).unwrap();
        harness::exit_status(dir.path(), &["--check", "--config", &config])
    };
    let good = "[[grants]]\nname = \"a\"\nuid = 1\n";
    assert_eq!(check(good, 0o644), Some(0));
    assert_eq!(check(good, 0o666), Some(78));
    assert_eq!(check("[[grants]]\nname = \"a\"\n", 0o644), Some(78));
}
