//! Running other programs: bounded in time, their output kept for the error.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::wait;

const TAIL_LINES: usize = 15;

/// The name of a command for messages, without its arguments.
pub(crate) fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Runs a short command and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("Failed to run {name}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{name} failed ({}): {}",
            output.status,
            without_hosts(stderr.trim())
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed no UTF-8"))
}

/// An exit status as a shell reports it: a signal N becomes 128 + N.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Whether a command exists and exits with status 0; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a long command, handing each line of its output to `on_line` and to
/// `log`. It is ended after `limit`; on failure the error carries the last lines.
pub(crate) fn logged(
    mut command: Command,
    limit: Duration,
    log: &std::path::Path,
    on_line: impl Fn(&str) + Send + 'static,
) -> Result<()> {
    let name = name(&command);
    let (reader, writer) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("Failed to run {name}"))?;
    // The command owns the write ends: the reader sees the end only once they are gone.
    drop(command);
    let mut file = fs::File::create(log)
        .with_context(|| format!("Failed to create the log {}", log.display()))?;
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let kept = Arc::clone(&tail);
    let pump = thread::spawn(move || -> std::io::Result<()> {
        for line in BufReader::new(reader).split(b'\n') {
            let line = line?;
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            writeln!(file, "{text}")?;
            on_line(&text);
            let mut tail = kept.lock().unwrap_or_else(PoisonError::into_inner);
            tail.push_back(text);
            if tail.len() > TAIL_LINES {
                tail.pop_front();
            }
        }
        Ok(())
    });
    let ended = wait_or_kill(&mut child, limit).with_context(|| format!("{name} was ended"));
    if ended.is_ok() {
        pump.join()
            .map_err(|_panic| anyhow!("the reader of {name}'s output panicked"))??;
    }
    let failure = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => anyhow!("{name} failed ({status})"),
        Err(error) => error,
    };
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    let lines: Vec<_> = tail.iter().map(|line| format!("    {line}")).collect();
    Err(failure.context(format!(
        "its last lines ({} has all):\n{}",
        log.display(),
        without_hosts(&lines.join("\n"))
    )))
}

fn wait_or_kill(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("no end after {} s", limit.as_secs());
        }
        wait::pause();
    }
}

/// Replaces the host in every URL: which mirror a machine uses is nobody's business in a log.
pub(crate) fn without_hosts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let host = after
            .find(|c: char| c == '/' || c.is_whitespace())
            .unwrap_or(after.len());
        out.push_str(before);
        out.push_str("<mirror>");
        rest = after.get(host..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::without_hosts;

    #[test]
    fn hosts_are_left_out_of_messages() {
        assert_eq!(
            without_hosts("E: Failed to fetch https://a.example/x 404 (http://b)"),
            "E: Failed to fetch https://<mirror>/x 404 (http://<mirror>"
        );
    }
}
