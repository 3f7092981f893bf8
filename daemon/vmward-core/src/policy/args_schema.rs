//! The JSON Schema that a tool's arguments must satisfy: draft 2020-12, whole
//! in itself, and with nothing in it that would be passed over in silence.

mod graph;
mod keywords;
mod sense;
mod work;

use std::sync::Arc;

use jsonschema::{
    PatternOptions, ValidationError, Validator, error::ValidationErrorKind, paths::Location,
};
use regex::RegexBuilder;
use serde_json::{Map, Value};

use graph::Graph;

/// Most mistakes in one call's arguments that are named.
pub const NAMED_MAX: usize = 3;
/// Longest text of one mistake in characters.
const MISTAKE_CHARS_MAX: usize = 200;
/// Memory that a compiled pattern, and its cache, may take.
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// Most steps that checking one call's arguments may take: a step is one part of
/// the schema that is asked about one value, or so; of a pattern, which is looked at
/// byte by byte, [`super::predicate::PATTERN_STEPS_MAX`] of its own steps are all.
pub const STEPS_MAX: u64 = 250_000;
/// Mistakes are named where finding them takes at most as many: the validator
/// keeps every one that it comes across, with all that led to it.
const NAMING_STEPS_MAX: u64 = 5_000;

/// What is wrong in a schema, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// A JSON pointer into the schema; empty for the whole of it.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

impl Mistake {
    fn at(place: &Location, message: String) -> Self {
        Self {
            place: place.as_str().to_owned(),
            message,
        }
    }
}

/// A compiled schema; the same source is the same schema.
#[derive(Clone, Debug)]
pub struct ArgsSchema {
    source: Value,
    compiled: Arc<Validator>,
    graph: Arc<Graph>,
}

/// Why arguments are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// They do not satisfy the schema; the text names the first mistakes.
    Mistakes(String),
    /// Checking them could take more than [`STEPS_MAX`] steps.
    TooMuch,
}

impl PartialEq for ArgsSchema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for ArgsSchema {}

impl ArgsSchema {
    /// Compiles a schema; the error says all that is wrong with it, and where.
    /// Reads no file and no network: it must have all that it refers to.
    pub fn compile(source: &Value) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = keywords::check(source);
        // Of a keyword that is told already, nothing more is.
        for error in jsonschema::draft202012::meta::validator().iter_errors(source) {
            let mistake = explain(&error);
            if !mistakes.iter().any(|told| told.place == mistake.place) {
                mistakes.push(mistake);
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        mistakes.extend(sense::check(source));
        let graph = match Graph::of(source) {
            Ok(graph) if mistakes.is_empty() => graph,
            Ok(_) => return Err(mistakes),
            Err(more) => {
                mistakes.extend(more);
                return Err(mistakes);
            }
        };
        // The linear engine: a pattern that meets an agent's text must not be
        // able to take forever.
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_MEMORY_MAX)
            .dfa_size_limit(PATTERN_MEMORY_MAX);
        let compiled = jsonschema::draft202012::options()
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .build(source)
            .map_err(|error| vec![explain(&error)])?;
        Ok(Self {
            source: source.clone(),
            compiled: Arc::new(compiled),
            graph: Arc::new(graph),
        })
    }

    /// The schema as the policy has it.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Checks arguments; the error names the first [`NAMED_MAX`] mistakes and
    /// their places, and repeats none of the values: it is recorded. What could
    /// take too long is not begun.
    pub fn check(&self, arguments: &Map<String, Value>) -> Result<(), Unfit> {
        let arguments = Value::Object(arguments.clone());
        let Some(steps) = work::steps(&self.graph, &arguments, STEPS_MAX) else {
            return Err(Unfit::TooMuch);
        };
        if self.compiled.is_valid(&arguments) {
            return Ok(());
        }
        if steps > NAMING_STEPS_MAX {
            let text = "they do not satisfy the schema, and are too many to say where";
            return Err(Unfit::Mistakes(text.to_owned()));
        }
        let mut errors = self.compiled.iter_errors(&arguments);
        let mut named: Vec<String> = errors.by_ref().take(NAMED_MAX).map(|e| name(&e)).collect();
        if errors.next().is_some() {
            named.push("and more".to_owned());
        }
        Err(Unfit::Mistakes(named.join("; ")))
    }
}

/// How many patterns a schema has to compile.
pub fn patterns(schema: &Value) -> usize {
    keywords::patterns(schema)
}

/// A mistake in a schema.
fn explain(error: &ValidationError<'_>) -> Mistake {
    let text = match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => {
            let pattern = error.instance();
            if is_too_large(pattern) {
                format!("a pattern takes too much memory, make its repetitions shorter: {pattern}")
            } else {
                format!(
                    "the pattern {pattern} is not understood; look-around and back-references are \
                     not supported"
                )
            }
        }
        _ => error.to_string(),
    };
    Mistake::at(error.instance_path(), shorten(&text))
}

/// Is it a pattern that is understood, and too large?
fn is_too_large(pattern: &Value) -> bool {
    let mut builder = RegexBuilder::new(pattern.as_str().unwrap_or_default());
    let built = builder.size_limit(PATTERN_MEMORY_MAX).build();
    matches!(built, Err(regex::Error::CompiledTooBig(_)))
}

/// A mistake in a call's arguments: `/args/count: the value is ...`.
fn name(error: &ValidationError<'_>) -> String {
    let place = error.instance_path();
    shorten(&format!("/args{place}: {}", error.masked_with("the value")))
}

/// Names in a call are the agent's: no control characters, and not too long.
fn shorten(text: &str) -> String {
    let show = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut characters = text.chars().map(show);
    let mut short: String = characters.by_ref().take(MISTAKE_CHARS_MAX).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
