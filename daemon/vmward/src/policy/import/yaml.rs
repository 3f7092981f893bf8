//! YAML as a tree with line numbers.
//!
//! The parser below gives events; the tree is built here, so that a duplicate
//! key, a tag or an alias that grows without end is an error instead of a
//! surprise.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value as Json};

use super::Note;

/// Most nodes of a document, aliases counted as what they stand for.
const NODES_MAX: usize = 100_000;
/// Deepest nesting, aliases counted as what they stand for.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar {
        text: String,
        /// Without quotes: it may be a number, a truth or nothing.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) node: Node,
}

impl Node {
    /// The text, where it is one.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Nothing, or a null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if is_null(text))
    }

    fn size(&self) -> usize {
        1 + self.children().map(Self::size).sum::<usize>()
    }

    fn height(&self) -> usize {
        1 + self.children().map(Self::height).max().unwrap_or(0)
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.value {
            Value::Scalar { .. } => Box::new(std::iter::empty()),
            Value::List(items) => Box::new(items.iter()),
            Value::Map(entries) => Box::new(entries.iter().map(|entry| &entry.node)),
        }
    }

    /// The same as JSON; the error says which scalar has no clear meaning.
    pub(super) fn json(&self) -> Result<Json, Note> {
        match &self.value {
            Value::Scalar { text, plain: false } => Ok(Json::String(text.clone())),
            Value::Scalar { text, plain: true } => {
                plain(text).map_err(|message| Note::new(self.line, message))
            }
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => {
                let pairs = entries.iter();
                let pairs = pairs.map(|entry| Ok((entry.key.clone(), entry.node.json()?)));
                Ok(Json::Object(pairs.collect::<Result<Map<_, _>, Note>>()?))
            }
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A scalar without quotes. What YAML versions and parsers disagree about
/// (octal, hexadecimal, `1_000`, infinity) is an error.
fn plain(text: &str) -> Result<Json, String> {
    match text {
        _ if is_null(text) => return Ok(Json::Null),
        "true" | "True" | "TRUE" => return Ok(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Json::Bool(false)),
        _ => {}
    }
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let second = body.chars().nth(1).unwrap_or('.');
    let counts = body.strip_prefix('.').unwrap_or(body);
    let ambiguous = if counts.starts_with(|first: char| first.is_ascii_digit()) {
        let old_style = body.starts_with('0') && !['.', 'e', 'E'].contains(&second);
        let number = (!old_style).then(|| number(text)).flatten();
        if let Some(number) = number {
            return Ok(Json::Number(number));
        }
        let of_number = |c: char| c.is_ascii_hexdigit() || "_xo".contains(c);
        (old_style || body.contains('_')) && body.chars().all(of_number)
    } else {
        body.starts_with('.') && ["inf", "nan"].contains(&counts.to_ascii_lowercase().as_str())
    };
    if ambiguous {
        return Err(format!(
            "{text} is read differently by different programs; write a decimal number, or quotes \
             around it"
        ));
    }
    Ok(Json::String(text.to_owned()))
}

fn number(text: &str) -> Option<Number> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let whole = text.parse::<i64>().map(Number::from);
    let whole = whole.or_else(|_too_large| text.parse::<u64>().map(Number::from));
    let broken = |_whole| text.parse().ok().and_then(Number::from_f64);
    whole.map_or_else(broken, Some)
}

/// Reads the one document of a text.
pub(super) fn read(text: &str) -> Result<Node, Note> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    builder.document()
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Note> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, start.line())),
            Some(Err(error)) => Err(Note::new(error.marker().line(), error.info())),
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn document(&mut self) -> Result<Node, Note> {
        let mut root: Option<Node> = None;
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => {
                    return root.ok_or_else(|| Note::new(1, "the file has nothing in it"));
                }
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(Note::new(
                        line,
                        "a policy is one YAML document, and here a second begins",
                    ));
                }
                Event::DocumentStart(_) => {
                    let (event, line) = self.next()?;
                    root = Some(self.node(event, line, 1)?);
                }
                event => root = Some(self.node(event, line, 1)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Note> {
        self.spend(1, depth, line)?;
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let copy = self.anchors.get(&id).cloned();
                let copy = copy.ok_or_else(|| Note::new(line, "an alias stands inside itself"))?;
                self.spend(copy.size(), depth + copy.height(), line)?;
                return Ok(copy);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = is_string(tag.as_deref(), line)?;
                let plain = style == ScalarStyle::Plain && !quoted;
                let text = text.into_owned();
                (Value::Scalar { text, plain }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                no_tag(tag.as_deref(), line)?;
                (Value::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                no_tag(tag.as_deref(), line)?;
                (Value::Map(self.map(depth)?), anchor)
            }
            _ => return Err(Note::new(line, "a value is missing")),
        };
        let node = Node { line, value };
        // Without an anchor the number is 0.
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Note> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Note> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(event, line, depth + 1)?;
            let Some(key) = key.scalar().map(ToOwned::to_owned) else {
                return Err(Note::new(line, "a key must be a word"));
            };
            if let Some(other) = entries.iter().find(|entry| entry.key == key) {
                let message = format!(
                    "the key {key:?} is there twice; first in line {}",
                    other.line
                );
                return Err(Note::new(line, message));
            }
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            entries.push(Entry { line, key, node });
        }
    }

    fn spend(&mut self, nodes: usize, depth: usize, line: usize) -> Result<(), Note> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values, aliases written out");
            return Err(Note::new(line, message));
        }
        if depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(Note::new(line, message));
        }
        Ok(())
    }
}

/// `!!str 5` is the text 5; no other tag has a meaning here.
fn is_string(tag: Option<&Tag>, line: usize) -> Result<bool, Note> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        other => no_tag(other, line).map(|()| false),
    }
}

fn no_tag(tag: Option<&Tag>, line: usize) -> Result<(), Note> {
    match tag {
        None => Ok(()),
        Some(tag) => {
            let message = format!("the tag {}{} is not known", tag.handle, tag.suffix);
            Err(Note::new(line, message))
        }
    }
}
