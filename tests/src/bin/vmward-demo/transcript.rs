//! What the demo tells: for people as it happens, for programs at the end.

use std::fmt::Display;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value, json};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
/// How wide a heading is drawn, in columns.
const WIDTH: usize = 78;

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A transcript, printed as it happens.
    Text,
    /// One JSON document at the end.
    Json,
}

/// One step of the story.
#[derive(Debug, Serialize)]
struct Step {
    number: usize,
    title: String,
    passed: bool,
    events: Vec<Event>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    data: Map<String, Value>,
}

/// One thing that was said, done or checked.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Event {
    Note {
        text: String,
    },
    Shown {
        text: String,
    },
    Command {
        command: String,
        exit_status: Option<i32>,
        seconds: f64,
        output: String,
    },
    Check {
        what: String,
        passed: bool,
        expected: String,
        came: String,
    },
}

/// The story so far.
#[derive(Debug)]
pub(crate) struct Transcript {
    output: Output,
    colour: bool,
    started: Instant,
    steps: Vec<Step>,
}

impl Transcript {
    /// Nothing has been told yet.
    pub(crate) fn new(output: Output, colour: bool) -> Self {
        Self {
            output,
            colour,
            started: Instant::now(),
            steps: Vec::new(),
        }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, title: &str) {
        let number = self.steps.len();
        let head = format!("== {number}. {title} ");
        self.print(&format!(
            "\n{}",
            self.paint(BOLD, &format!("{head:=<WIDTH$}"))
        ));
        self.steps.push(Step {
            number,
            title: title.to_owned(),
            passed: true,
            events: Vec::new(),
            data: Map::new(),
        });
    }

    /// Says a sentence or more; wrapped to the width of the page.
    pub(crate) fn say(&mut self, text: &str) {
        self.paragraph();
        for line in wrap(text) {
            self.print(&line);
        }
        self.note(Event::Note {
            text: text.to_owned(),
        });
    }

    /// Shows what a program printed, or a row of a table, as it is.
    pub(crate) fn show(&mut self, text: &str) {
        let text = text.trim_end();
        for line in text.lines() {
            self.print(&format!("    {line}"));
        }
        self.note(Event::Shown {
            text: text.to_owned(),
        });
    }

    /// Shows a command with everything that it printed.
    pub(crate) fn command(&mut self, done: &crate::host::Ran) {
        self.print(&format!(
            "\n  {} {}",
            self.paint(BOLD, "$"),
            self.paint(BOLD, &done.shown)
        ));
        for line in done.said.lines().filter(|line| !line.trim().is_empty()) {
            self.print(&format!("    {line}"));
        }
        let exit = done
            .code
            .map_or("a signal".to_owned(), |code| code.to_string());
        let exit = format!("(exit status {exit}, {:.1} s)", done.seconds);
        self.print(&format!("    {}", self.paint(DIM, &exit)));
        self.note(Event::Command {
            command: done.shown.clone(),
            exit_status: done.code,
            seconds: done.seconds,
            output: done.said.clone(),
        });
    }

    /// A statement of this step that holds or does not.
    pub(crate) fn check(
        &mut self,
        what: &str,
        passed: bool,
        expected: impl Display,
        came: impl Display,
    ) {
        let (expected, came) = (expected.to_string(), came.to_string());
        if passed {
            self.print(&format!("  {} {what}: {came}", self.paint(GREEN, "ok    ")));
        } else {
            self.print(&format!("  {} {what}", self.paint(RED, "FAILED")));
            self.print(&format!("         expected: {expected}"));
            self.print(&format!("         came:     {came}"));
        }
        if let Some(step) = self.steps.last_mut() {
            step.passed &= passed;
        }
        self.note(Event::Check {
            what: what.to_owned(),
            passed,
            expected,
            came,
        });
    }

    /// A statement that something is just so.
    pub(crate) fn same(&mut self, what: &str, expected: impl Display, came: impl Display) {
        let (expected, came) = (expected.to_string(), came.to_string());
        self.check(what, expected == came, &expected, &came);
    }

    /// Data for programs only.
    pub(crate) fn data(&mut self, name: &str, value: Value) {
        if let Some(step) = self.steps.last_mut() {
            step.data.insert(name.to_owned(), value);
        }
    }

    /// The story cannot go on.
    pub(crate) fn broke_off(&mut self, error: &anyhow::Error) {
        if self.steps.is_empty() {
            self.step("The beginning");
        }
        self.check(
            "the step came to its end",
            false,
            "no error",
            format!("{error:#}"),
        );
    }

    /// Prints the rest; true when every step came out as stated.
    pub(crate) fn end(&self) -> bool {
        let failed: Vec<_> = self
            .steps
            .iter()
            .filter(|step| !step.passed)
            .map(|step| step.number)
            .collect();
        let passed = failed.is_empty();
        let seconds = round(self.started.elapsed().as_secs_f64());
        if self.output == Output::Json {
            let document = json!({ "passed": passed, "seconds": seconds, "steps": self.steps });
            println!("{document:#}");
            return passed;
        }
        let verdict = if passed {
            let text = format!("Every step came out as stated, in {seconds:.0} s.");
            self.paint(GREEN, &text)
        } else {
            self.paint(
                RED,
                &format!("FAILED: step {failed:?} did not come out as stated."),
            )
        };
        println!("\n{verdict}");
        passed
    }

    /// Prose stands off from what came before it, unless that is the heading.
    fn paragraph(&self) {
        if self
            .steps
            .last()
            .is_some_and(|step| !step.events.is_empty())
        {
            self.print("");
        }
    }

    fn note(&mut self, event: Event) {
        if let Some(step) = self.steps.last_mut() {
            step.events.push(event);
        }
    }

    fn print(&self, line: &str) {
        if self.output == Output::Text {
            println!("{line}");
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Seconds with one digit after the point.
pub(crate) fn round(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::from(" ");
    for word in text.split_whitespace() {
        if line.len() + word.len() >= WIDTH {
            lines.push(std::mem::replace(&mut line, " ".to_owned()));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}
