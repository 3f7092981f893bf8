//! Patterns of Go's RE2 in the words of Rust's regex crate. What both read and
//! take for different things, such as `\d`, is written anew; what cannot be said
//! is refused.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSetBinaryOp, ClassSetItem, Flag,
    Flags, FlagsItemKind, GroupKind, RepetitionKind, Span, Visitor, parse::Parser,
};

/// The same pattern for Rust; the error says what in it means something else there.
/// One that Rust cannot read is left as it is, and refused as part of the policy.
pub(super) fn of_go(pattern: &str) -> Result<String, String> {
    let Ok(parsed) = Parser::new().parse(pattern) else {
        return Ok(pattern.to_owned());
    };
    let changes = Changes {
        pattern,
        found: Vec::new(),
    };
    let mut written = String::new();
    let mut from = 0;
    for (span, anew) in ast::visit(&parsed, changes)? {
        written.push_str(pattern.get(from..span.start.offset).unwrap_or_default());
        written.push_str(&anew);
        from = span.end.offset;
    }
    written.push_str(pattern.get(from..).unwrap_or_default());
    Ok(written)
}

/// What is to be written anew, in order.
struct Changes<'a> {
    pattern: &'a str,
    found: Vec<(Span, String)>,
}

impl Changes<'_> {
    fn text(&self, span: &Span) -> &str {
        let text = self.pattern.get(span.start.offset..span.end.offset);
        text.unwrap_or_default()
    }

    fn change(&mut self, span: &Span, anew: impl Into<String>) {
        self.found.push((*span, anew.into()));
    }

    fn assertion(&mut self, span: &Span, kind: &AssertionKind) -> Result<(), String> {
        match kind {
            AssertionKind::StartLine
            | AssertionKind::EndLine
            | AssertionKind::StartText
            | AssertionKind::EndText => {}
            AssertionKind::WordBoundary => self.change(span, r"(?-u:\b)"),
            AssertionKind::NotWordBoundary => self.change(span, r"(?-u:\B)"),
            // Nothing but an escaped sign to Go.
            AssertionKind::WordBoundaryStartAngle => self.change(span, "<"),
            AssertionKind::WordBoundaryEndAngle => self.change(span, ">"),
            AssertionKind::WordBoundaryStart
            | AssertionKind::WordBoundaryEnd
            | AssertionKind::WordBoundaryStartHalf
            | AssertionKind::WordBoundaryEndHalf => return Err(means_other(self.text(span))),
        }
        Ok(())
    }

    fn flags(&self, flags: &Flags) -> Result<(), String> {
        let unknown = |kind: &FlagsItemKind| {
            matches!(
                kind,
                FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace)
            )
        };
        if flags.items.iter().any(|item| unknown(&item.kind)) {
            return Err(means_other(self.text(&flags.span)));
        }
        Ok(())
    }

    /// `{,3}` is five letters to Go.
    fn count(&self, span: &Span) -> Result<(), String> {
        let text = self.text(span);
        let begins = |text: &str| text.starts_with(|digit: char| digit.is_ascii_digit());
        let is_same = text.strip_prefix('{').is_some_and(begins)
            && !text.contains(|letter: char| letter.is_whitespace());
        is_same.then_some(()).ok_or_else(|| means_other(text))
    }
}

impl Visitor for Changes<'_> {
    type Output = Vec<(Span, String)>;
    type Err = String;

    fn finish(self) -> Result<Self::Output, String> {
        Ok(self.found)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        match ast {
            Ast::Assertion(assertion) => self.assertion(&assertion.span, &assertion.kind),
            Ast::ClassPerl(class) => {
                self.change(&class.span, alone(class));
                Ok(())
            }
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(flags) => self.flags(flags),
                GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => Ok(()),
            },
            Ast::Repetition(repetition) => match repetition.op.kind {
                RepetitionKind::Range(_) => self.count(&repetition.op.span),
                _ => Ok(()),
            },
            Ast::Empty(_)
            | Ast::Literal(_)
            | Ast::Dot(_)
            | Ast::ClassUnicode(_)
            | Ast::ClassBracketed(_)
            | Ast::Alternation(_)
            | Ast::Concat(_) => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Perl(class) if class.negated => self.change(&class.span, alone(class)),
            ClassSetItem::Perl(class) => self.change(&class.span, members(&class.kind)),
            // "[" among others is a sign like any other to Go.
            ClassSetItem::Bracketed(class) => return Err(means_other(self.text(&class.span))),
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, op: &ClassSetBinaryOp) -> Result<(), String> {
        Err(means_other(self.text(&op.span)))
    }
}

/// A class with brackets of its own.
fn alone(class: &ClassPerl) -> String {
    let not = if class.negated { "^" } else { "" };
    format!("[{not}{}]", members(&class.kind))
}

/// Go's classes have ASCII only.
fn members(kind: &ClassPerlKind) -> &'static str {
    match kind {
        ClassPerlKind::Digit => "0-9",
        ClassPerlKind::Space => r"\t\n\f\r\x20",
        ClassPerlKind::Word => "0-9A-Za-z_",
    }
}

fn means_other(text: &str) -> String {
    format!("cannot be carried over: {text:?} in a pattern means something else here")
}
