//! What is written inside `when:` and `{{ }}`, word by word. It works on the text as it stands in the file, so that what is
//! half typed is seen as well.

use super::Source;
use super::place::{Step, place};
use super::shape::{Shape, shape};
use compiler::syntax::Kind;
use grammar::Span;
use grammar::document::{Node, Parsed, Value};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A condition.
    When,
    /// What stands between `{{` and `}}`.
    Template,
}

/// One expression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expression {
    /// Which language it is.
    pub language: Language,
    /// Without quotes and braces.
    pub span: Span,
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordKind {
    /// `if`, `range`, `true`, `in` and the like.
    Keyword,
    /// The name of a function.
    Function,
    /// `.Vars.a`, `vars.a`
    Variable,
    /// `.Traits.a.b`, `traits.a.b`
    Trait,
    /// `.Envoy.a`
    Envoy,
    /// `.Item.a`, `item.a`, and any other field.
    Item,
    /// `$x`
    Local,
    /// Between quotes.
    Text,
    /// Digits.
    Number,
    /// `==`, `|` and the like.
    Operator,
    /// `/* */`
    Comment,
}

/// A word of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it is.
    pub kind: WordKind,
    /// In the file.
    pub span: Span,
    /// Of a text: whether it is closed.
    pub closed: bool,
}

const TEMPLATE_WORDS: [&str; 10] =
    ["if", "else", "end", "range", "with", "break", "continue", "true", "false", "nil"];
const WHEN_WORDS: [&str; 4] = ["true", "false", "in", "matches"];

impl Language {
    /// Words of the language itself.
    pub fn keywords(self) -> &'static [&'static str] {
        match self {
            Language::When => &WHEN_WORDS,
            Language::Template => &TEMPLATE_WORDS,
        }
    }
}

/// The words of a part of a text.
pub fn words(text: &str, span: Span, language: Language) -> Vec<Word> {
    let Some(part) = text.get(span.range()) else { return Vec::new() };
    let bytes = part.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        let (kind, closed) = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'/' if language == Language::Template && bytes.get(at + 1) == Some(&b'*') => {
                at = part.get(at + 2..).and_then(|t| t.find("*/")).map_or(part.len(), |n| at + 2 + n + 2);
                (WordKind::Comment, true)
            }
            // a quote in a text that stands in quotes itself
            b'\\' if bytes.get(at + 1) == Some(&b'"') => {
                let rest = part.get(at + 2..).unwrap_or_default();
                let line = rest.split('\n').next().unwrap_or_default();
                let close = line.find("\\\"");
                at += 2 + close.map_or(line.len(), |n| n + 2);
                (WordKind::Text, close.is_some())
            }
            quote @ (b'"' | b'\'' | b'`') => {
                let (end, closed) = text_end(bytes, at, *quote, language);
                at = end;
                (WordKind::Text, closed)
            }
            b'0'..=b'9' => {
                at = run(bytes, at, |b| b.is_ascii_alphanumeric() || b == b'.');
                (WordKind::Number, true)
            }
            b'$' => {
                at = run(bytes, at + 1, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
                let word = part.get(start..at).unwrap_or_default();
                (word.strip_prefix('$').and_then(field).unwrap_or(WordKind::Local), true)
            }
            b'.' if language == Language::Template => {
                at = run(bytes, at + 1, |b| is_name(b) && b != b'-' || b == b'.');
                (field(part.get(start..at).unwrap_or_default()).unwrap_or(WordKind::Item), true)
            }
            b if b.is_ascii_alphabetic() || *b == b'_' => {
                at = run(bytes, at, |b| is_name(b) && b != b'-' || b == b'.');
                if language == Language::When {
                    // names of variables may have dashes
                    while part.get(start..at).is_some_and(|w| w.contains('.'))
                        && bytes.get(at) == Some(&b'-')
                        && bytes.get(at + 1).is_some_and(|b| is_name(*b))
                    {
                        at = run(bytes, at + 1, |b| is_name(b) && b != b'-' || b == b'.');
                    }
                }
                let word = part.get(start..at).unwrap_or_default();
                (of_word(word, language), true)
            }
            _ => {
                let pairs = ["==", "!=", "<=", ">=", "&&", "||", ":="];
                let pair = part.get(at..at + 2).is_some_and(|p| pairs.contains(&p));
                at += if pair { 2 } else { part[at..].chars().next().map_or(1, char::len_utf8) };
                (WordKind::Operator, true)
            }
        };
        let base = span.start;
        out.push(Word { kind, span: Span::new(base + start as u32, base + at as u32), closed });
    }
    out
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn run(bytes: &[u8], mut at: usize, part: impl Fn(u8) -> bool) -> usize {
    while bytes.get(at).is_some_and(|b| part(*b)) {
        at += 1;
    }
    at
}

/// The end of a text, and whether it is closed.
fn text_end(bytes: &[u8], start: usize, quote: u8, language: Language) -> (usize, bool) {
    let escapes = quote == b'"' || (quote == b'\'' && language == Language::Template);
    let mut at = start + 1;
    while let Some(b) = bytes.get(at) {
        match b {
            b'\\' if escapes => at += 1,
            b if *b == quote => return (at + 1, true),
            b'\n' if quote != b'`' => return (at, false),
            _ => {}
        }
        at += 1;
    }
    (bytes.len(), false)
}

fn field(path: &str) -> Option<WordKind> {
    Some(match path.split('.').nth(1)? {
        "Vars" => WordKind::Variable,
        "Traits" => WordKind::Trait,
        "Envoy" => WordKind::Envoy,
        "" => return None,
        _ => WordKind::Item,
    })
}

fn of_word(word: &str, language: Language) -> WordKind {
    if language.keywords().contains(&word) {
        return WordKind::Keyword;
    }
    match (language, word.split('.').next().unwrap_or_default()) {
        (Language::When, "vars") => WordKind::Variable,
        (Language::When, "traits") => WordKind::Trait,
        (Language::When, "item") => WordKind::Item,
        _ => WordKind::Function,
    }
}

/// Every expression of a file, in order.
pub fn expressions(source: &Source, parsed: &Parsed) -> Vec<Expression> {
    let mut out = Vec::new();
    if source.kind == Kind::Template {
        actions(&source.text, Span::new(0, source.text.len() as u32), &mut out);
        return out;
    }
    walk(source, &parsed.root, &mut Vec::new(), &mut out);
    out
}

fn walk(source: &Source, node: &Node, way: &mut Vec<Step>, out: &mut Vec<Expression>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                way.push(Step::Key(entry.key.text.clone()));
                walk(source, &entry.value, way, out);
                way.pop();
            }
        }
        Value::Seq(items) => {
            for (number, item) in items.iter().enumerate() {
                way.push(Step::Item(number));
                walk(source, item, way, out);
                way.pop();
            }
        }
        Value::Scalar(scalar) => {
            let here = shape(source.kind, way);
            if here == Shape::Condition {
                out.push(Expression { language: Language::When, span: inside(source, node.span) });
            } else if scalar.text.contains("{{") && here.takes_templates(way.last().and_then(Step::key)) {
                actions(&source.text, node.span, out);
            }
        }
        Value::Null | Value::Error => {}
    }
}

/// A scalar without its quotes.
pub fn inside(source: &Source, span: Span) -> Span {
    let text = source.slice(span);
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return span };
    let closed = text.len() > 1 && text.ends_with(quote);
    Span::new(span.start + 1, span.end - u32::from(closed))
}

/// The insides of the actions in a part of a text.
fn actions(text: &str, span: Span, out: &mut Vec<Expression>) {
    let Some(part) = text.get(span.range()) else { return };
    let mut at = 0;
    while let Some(found) = part.get(at..).and_then(|rest| rest.find("{{")) {
        let open = at + found + 2;
        let rest = part.get(open..).unwrap_or_default();
        // an action that is not closed ends with its line
        let close = rest.find("}}").unwrap_or_else(|| rest.find('\n').unwrap_or(rest.len()));
        let (start, end) = (span.start + open as u32, span.start + (open + close) as u32);
        out.push(Expression { language: Language::Template, span: trimmed(text, start, end) });
        at = open + close;
    }
}

/// Without the dashes that trim.
fn trimmed(text: &str, start: u32, end: u32) -> Span {
    let part = text.get(start as usize..end as usize).unwrap_or_default();
    let head = u32::from(part.starts_with("- "));
    let tail = u32::from(part.len() > 2 && part.ends_with(" -"));
    Span::new(start + head, end - tail)
}

/// The expression around a position.
pub fn expression_at(source: &Source, parsed: &Parsed, at: u32) -> Option<Expression> {
    if let Some(action) = action_at(source, parsed, at) {
        return Some(action);
    }
    if source.kind == Kind::Template {
        return None;
    }
    let place = place(&parsed.root, at);
    let (_, span) = place.scalar()?;
    (shape(source.kind, &place.way) == Shape::Condition)
        .then(|| Expression { language: Language::When, span: inside(source, span) })
}

/// The action around a position, closed or not, found in the text alone.
fn action_at(source: &Source, parsed: &Parsed, at: u32) -> Option<Expression> {
    if !matches!(source.kind, Kind::Module | Kind::Template) {
        return None;
    }
    let head = source.text.get(..at as usize)?;
    let open = head.rfind("{{")?;
    if head.get(open..)?.contains("}}") || head.len() - open > LONGEST_ACTION {
        return None;
    }
    let inner = open + 2;
    let rest = source.text.get(at as usize..)?;
    let line = rest.find('\n').unwrap_or(rest.len());
    let close =
        rest.find("}}").filter(|n| *n <= LONGEST_ACTION && rest.get(..*n).is_some_and(|t| !t.contains("{{")));
    let end = at as usize + close.unwrap_or(line);
    if parsed.comments.iter().any(|c| c.span.start <= open as u32 && (open as u32) < c.span.end) {
        return None;
    }
    Some(Expression {
        language: Language::Template,
        span: trimmed(&source.text, inner as u32, end.max(inner) as u32),
    })
}

const LONGEST_ACTION: usize = 4096;

/// What is being typed in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The word up to the cursor.
    pub typed: String,
    /// Where it begins.
    pub start: u32,
    /// Whether it is a text: `typed` is then what is behind its quote.
    pub in_text: bool,
    /// The call around it: the function, and the number of the argument.
    pub call: Option<(String, usize)>,
    /// The path that it is compared with.
    pub compared: Option<String>,
}

/// What is being typed at a position of an expression.
pub fn cursor(text: &str, expression: Expression, at: u32) -> Cursor {
    let at = at.clamp(expression.span.start, expression.span.end.max(expression.span.start));
    let words = words(text, Span::new(expression.span.start, at), expression.language);
    let slice = |w: &Word| text.get(w.span.range()).unwrap_or_default();
    let mut before = words.as_slice();
    let mut out = Cursor { typed: String::new(), start: at, in_text: false, call: None, compared: None };
    if let Some((last, rest)) = words.split_last()
        && last.span.end == at
    {
        let unclosed = last.kind == WordKind::Text && !last.closed;
        if unclosed || !matches!(last.kind, WordKind::Operator | WordKind::Text | WordKind::Number) {
            let skip = if slice(last).starts_with('\\') { 2 } else { u32::from(unclosed) };
            out.start = last.span.start + skip;
            out.typed = text.get(out.start as usize..at as usize).unwrap_or_default().to_owned();
            out.in_text = unclosed;
            before = rest;
        }
    }
    out.call = match expression.language {
        Language::When => call_with_parens(before, &slice),
        Language::Template => command(before, &slice),
    };
    if let [.., path, operator] = before
        && matches!(slice(operator), "==" | "!=")
        && matches!(path.kind, WordKind::Trait | WordKind::Variable)
    {
        out.compared = Some(slice(path).to_owned());
    }
    if let [.., function, path] = before
        && matches!(slice(function), "eq" | "ne")
        && matches!(path.kind, WordKind::Trait | WordKind::Variable)
    {
        out.compared = Some(slice(path).to_owned());
    }
    out
}

/// `name(a, b`: the innermost call that is open, and the number of commas in it.
fn call_with_parens<'t>(words: &[Word], slice: &impl Fn(&Word) -> &'t str) -> Option<(String, usize)> {
    let (mut depth, mut commas) = (0_usize, 0);
    for (number, word) in words.iter().enumerate().rev() {
        if word.kind != WordKind::Operator {
            continue;
        }
        match slice(word) {
            ")" | "]" => depth += 1,
            "(" | "[" if depth > 0 => depth -= 1,
            "(" => {
                let name = words.get(number.checked_sub(1)?)?;
                return (name.kind == WordKind::Function).then(|| (slice(name).to_owned(), commas));
            }
            "," if depth == 0 => commas += 1,
            _ => {}
        }
    }
    None
}

/// `name a b`: the command that is open, and how many arguments it has so far.
fn command<'t>(words: &[Word], slice: &impl Fn(&Word) -> &'t str) -> Option<(String, usize)> {
    let (mut depth, mut first) = (0_usize, 0);
    for (number, word) in words.iter().enumerate().rev() {
        match (word.kind, slice(word)) {
            (WordKind::Operator, ")") => depth += 1,
            (WordKind::Operator, "(") if depth > 0 => depth -= 1,
            (WordKind::Operator, "(" | "|" | ":=" | "=" | "{") if depth == 0 => {
                first = number + 1;
                break;
            }
            (WordKind::Keyword, "if" | "range" | "with" | "else") if depth == 0 => {
                first = number + 1;
                break;
            }
            _ => {}
        }
    }
    let name = words.get(first)?;
    let mut arguments = 0;
    let mut depth = 0_usize;
    for word in words.get(first + 1..)? {
        match (word.kind, slice(word)) {
            (WordKind::Operator, "(") => {
                arguments += usize::from(depth == 0);
                depth += 1;
            }
            (WordKind::Operator, ")") => depth = depth.saturating_sub(1),
            _ if depth == 0 => arguments += 1,
            _ => {}
        }
    }
    (name.kind == WordKind::Function).then(|| (slice(name).to_owned(), arguments))
}

/// The word of an expression at a position.
pub fn word_at(source: &Source, parsed: &Parsed, at: u32) -> Option<(Expression, Word)> {
    let expression = expression_at(source, parsed, at)?;
    let all = words(&source.text, expression.span, expression.language);
    let touching = all.into_iter().filter(|w| w.span.start <= at && at <= w.span.end);
    let word = touching.min_by_key(|w| w.kind == WordKind::Operator)?;
    Some((expression, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_end(text: &str, language: Language) -> Cursor {
        let span = Span::new(0, text.len() as u32);
        cursor(text, Expression { language, span }, span.end)
    }

    #[test]
    fn what_is_typed_in_a_condition() {
        let c = at_end("!is_container && os_fam", Language::When);
        assert_eq!((c.typed.as_str(), c.in_text, c.call), ("os_fam", false, None));
        let c = at_end("os_family('deb", Language::When);
        assert_eq!((c.typed.as_str(), c.in_text, c.call), ("deb", true, Some(("os_family".into(), 0))));
        let c = at_end("os_family('debian', ", Language::When);
        assert_eq!(c.call, Some(("os_family".into(), 1)));
        let c = at_end("traits.os.family == '", Language::When);
        assert_eq!((c.compared.as_deref(), c.in_text), (Some("traits.os.family"), true));
        let c = at_end("has_role('a') || vars.my-na", Language::When);
        assert_eq!((c.typed.as_str(), c.call), ("vars.my-na", None));
    }

    #[test]
    fn what_is_typed_in_a_template() {
        let c = at_end(" .Vars.po", Language::Template);
        assert_eq!((c.typed.as_str(), c.call), (".Vars.po", None));
        let c = at_end(" if eq .Traits.os.family \"", Language::Template);
        assert_eq!((c.compared.as_deref(), c.in_text), (Some(".Traits.os.family"), true));
        assert_eq!(c.call, Some(("eq".into(), 1)));
        let c = at_end(" .Vars.x | default (len .Vars.y) ", Language::Template);
        assert_eq!(c.call, Some(("default".into(), 1)));
    }

    #[test]
    fn words_have_kinds() {
        let text = "if and .Vars.a $x.b (eq .Item.c 3) /* é */";
        let kinds: Vec<WordKind> =
            words(text, Span::new(0, text.len() as u32), Language::Template).iter().map(|w| w.kind).collect();
        use WordKind::*;
        assert_eq!(
            kinds,
            [Keyword, Function, Variable, Item, Operator, Function, Item, Number, Operator, Comment]
        );
    }
}
