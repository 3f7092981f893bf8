//! What clients hear once the engine's thread has ended.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use vmward_core::grant::Grants;

use super::*;
use crate::connection::{Service, serve};
use crate::feed::Feed;
use crate::identity::account::AccountBook;
use crate::socket::Door;

#[test]
fn who_asks_an_engine_that_has_ended_is_told_that_the_daemon_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, thread) = spawn(shell(dir.path())).unwrap();
    let (reply, stopped) = oneshot::channel();
    engine.offer(Message::Stop(reply)).unwrap();
    stopped.blocking_recv().unwrap();
    thread.join().unwrap();
    let service = Service {
        engine,
        counters: Arc::default(),
        book: Arc::new(AccountBook::new(Grants::default())),
        feed: Feed::new(),
    };
    let (mut client, server) = UnixStream::pair().unwrap();
    let call = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "authorize",
        "params": {"tool": "vm_list"}});
    let status = serde_json::json!({"jsonrpc": "2.0", "id": 2, "method": "status"});
    writeln!(client, "{call}\n{status}").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_running, stop) = tokio::sync::watch::channel(false);
    serve(
        &server,
        Door::Policy,
        service,
        &stop,
        runtime.handle().clone(),
    );
    drop(server);
    let answers = std::io::read_to_string(client).unwrap();
    assert_eq!(answers.matches(r#""code":-32001"#).count(), 2, "{answers}");
    assert_eq!(answers.matches("is stopping").count(), 2, "{answers}");
}
