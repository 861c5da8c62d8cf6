//! From text and actions to a tree: `if`, `range`, `with`, `else`, `end`.
//!
//! Blocks are kept on a stack of our own, so that depth is bounded and an `end` that is missing is reported at what it
//! should have ended.

use super::token::{Action, Placed, Tok};
use super::{Branch, OperandKind, Piece, Pipeline, build, grammar};
use crate::Span;
use crate::error::{Sink, SyntaxError};
use std::collections::HashMap;

/// Levels of blocks and parentheses.
const DEEPEST: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    If,
    Range,
    With,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::If => "if",
            Kind::Range => "range",
            Kind::With => "with",
        }
    }
}

/// An open block. `else if` opens one inside the block before it, and shares its `end`.
struct Block {
    kind: Kind,
    span: Span,
    pipeline: Pipeline,
    body: Vec<Piece>,
    /// The pieces behind `else`, once it was seen.
    otherwise: Option<Vec<Piece>>,
    /// Opened by `else if` or `else with`: the `end` closes the one around it as well.
    chained: bool,
    /// Variables that were in scope before it.
    scope: usize,
}

pub(super) struct Builder<'s> {
    text: &'s str,
    root: Vec<Piece>,
    stack: Vec<Block>,
    /// Blocks inside one that was nested too deep; counted only, so that each finds its `end`.
    ignored: usize,
    /// Inside an `else if` that is too deep, up to the `end` of its chain.
    chain_ignored: bool,
    /// Declared variables in order, and how often each name is among them.
    variables: Vec<String>,
    declared: HashMap<String, usize>,
    /// Open `range` bodies.
    ranges: usize,
    pub(super) sink: Sink,
}

impl<'s> Builder<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Builder {
            text,
            root: Vec::new(),
            stack: Vec::new(),
            ignored: 0,
            chain_ignored: false,
            variables: Vec::new(),
            declared: HashMap::new(),
            ranges: 0,
            sink: Sink::default(),
        }
    }

    pub(super) fn text(&mut self, start: usize, end: usize) {
        if start < end {
            let text = self.text[start..end].to_owned();
            self.push(Piece::Text { text, span: Span::of(start..end) });
        }
    }

    fn push(&mut self, piece: Piece) {
        if self.ignored > 0 || self.chain_ignored {
            return;
        }
        match self.stack.last_mut() {
            Some(Block { otherwise: Some(pieces), .. }) => pieces.push(piece),
            Some(block) => block.body.push(piece),
            None => self.root.push(piece),
        }
    }

    /// An action at `span`, braces included.
    pub(super) fn action(&mut self, action: Action, span: Span) {
        let Action { tokens, faulty, .. } = action;
        let word = match tokens.first() {
            Some((_, Tok::Function(name), _)) => name.text.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" => self.open(Kind::If, tokens, faulty, span, false),
            "range" => self.open(Kind::Range, tokens, faulty, span, false),
            "with" => self.open(Kind::With, tokens, faulty, span, false),
            "else" => self.otherwise(tokens, faulty, span),
            "end" => {
                self.nothing_behind("end", &tokens);
                self.end(span);
            }
            "break" | "continue" => {
                self.nothing_behind(&word, &tokens);
                self.jump(&word, span);
            }
            "define" | "template" | "block" => self.unsupported(&word, span),
            _ => {
                let pipeline = self.pipeline(tokens, faulty, span, "an action", false);
                self.push(match pipeline {
                    Some(pipeline) => Piece::Action(pipeline),
                    None => Piece::Error(span),
                });
            }
        }
    }

    fn nothing_behind(&mut self, word: &str, tokens: &[Placed]) {
        if let (Some((start, ..)), Some((.., end))) = (tokens.get(1), tokens.last()) {
            self.sink.push(
                SyntaxError::new(
                    "template-syntax",
                    Span::new(*start, *end),
                    format!("nothing can follow `{word}`"),
                    "not expected here",
                )
                .help(format!("write `{{{{ {word} }}}}`")),
            );
        }
    }

    fn jump(&mut self, word: &str, span: Span) {
        if self.ranges == 0 {
            if self.ignored == 0 {
                self.sink.push(
                    SyntaxError::new(
                        "template-outside-range",
                        span,
                        format!("`{word}` stands outside a `range`"),
                        "no `range` around this",
                    )
                    .help("remove it, or put it between `range` and its `end`"),
                );
            }
            return self.push(Piece::Error(span));
        }
        let nearest = self.stack.iter().rev().find(|block| block.kind == Kind::Range);
        if word == "break" && nearest.is_some_and(|block| block.otherwise.is_some()) {
            self.sink.push(
                SyntaxError::new(
                    "template-unsupported",
                    span,
                    "`break` cannot stand in the `else` of a `range`",
                    "Go leaves only the `else` here, not the `range` around it",
                )
                .help("ask with an `if` in front of the inner `range` whether there is anything, and `break` there"),
            );
            return self.push(Piece::Error(span));
        }
        self.push(if word == "break" { Piece::Break(span) } else { Piece::Continue(span) });
    }

    fn unsupported(&mut self, word: &str, span: Span) {
        self.sink.push(
            SyntaxError::new(
                "template-unsupported",
                span,
                format!("`{word}` is not part of the template language"),
                "left out",
            )
            .help("put shared text into a variable or into a file that `source:` names"),
        );
        // These two have an `end` of their own, which must not close something else.
        if word != "template" {
            let pipeline = build::error(span);
            self.block(Kind::With, pipeline, span, false, self.variables.len());
        } else {
            self.push(Piece::Error(span));
        }
    }

    // ---- blocks

    fn open(&mut self, kind: Kind, mut tokens: Vec<Placed>, faulty: bool, span: Span, chained: bool) {
        tokens.remove(0);
        let scope = self.variables.len();
        let pipeline = self.pipeline(tokens, faulty, span, kind.word(), kind == Kind::Range);
        let pipeline = pipeline.unwrap_or_else(|| build::error(span));
        self.block(kind, pipeline, span, chained, scope);
    }

    fn block(&mut self, kind: Kind, pipeline: Pipeline, span: Span, chained: bool, scope: usize) {
        if self.ignored > 0 || self.stack.len() >= DEEPEST {
            if self.ignored == 0 && !self.chain_ignored {
                self.sink.push(too_deep(span));
                self.push(Piece::Error(span));
            }
            if chained {
                self.chain_ignored = true;
            } else {
                self.ignored += 1;
            }
            return;
        }
        self.ranges += usize::from(kind == Kind::Range);
        self.stack.push(Block { kind, span, pipeline, body: Vec::new(), otherwise: None, chained, scope });
    }

    fn otherwise(&mut self, mut tokens: Vec<Placed>, faulty: bool, span: Span) {
        if self.ignored > 0 || self.chain_ignored {
            return;
        }
        let Some(block) = self.stack.last_mut() else {
            self.sink.push(
                SyntaxError::new(
                    "template-unexpected-end",
                    span,
                    "this `else` belongs to nothing",
                    "nothing is open",
                )
                .help("remove it, or write the `if`, `range` or `with` before it"),
            );
            return self.push(Piece::Error(span));
        };
        if block.otherwise.is_some() {
            let opened = block.span;
            self.sink.push(
                SyntaxError::new(
                    "template-unexpected-end",
                    span,
                    "this block already has an `else`",
                    "second `else`",
                )
                .related(opened, "the block begins here")
                .help("is an `end` missing before it?"),
            );
            return self.push(Piece::Error(span));
        }
        block.otherwise = Some(Vec::new());
        let (kind, scope) = (block.kind, block.scope);
        self.ranges -= usize::from(kind == Kind::Range);
        let next = match tokens.get(1) {
            None => {
                // Variables of the body end with it; those of the pipeline stay until `end`.
                let declared = self.stack.last().map_or(scope, |b| scope + names(&b.pipeline));
                return self.leave(declared);
            }
            Some((_, Tok::Function(name), _)) => name.text.as_str(),
            Some(_) => "",
        };
        let inner = match next {
            "if" => Kind::If,
            "with" => Kind::With,
            _ => {
                tokens.remove(0);
                let (start, end) =
                    (tokens.first().map_or(span.start, |t| t.0), tokens.last().map_or(span.end, |t| t.2));
                self.sink.push(
                    SyntaxError::new(
                        "template-syntax",
                        Span::new(start, end),
                        "only `if` or `with` can follow `else`",
                        "not expected here",
                    )
                    .help("write `{{ else if ... }}`"),
                );
                return;
            }
        };
        if inner != kind {
            let text = format!("`else {}` cannot follow a `{}`", inner.word(), kind.word());
            self.sink.push(
                SyntaxError::new("template-syntax", span, text, "not expected here")
                    .help("write `{{ else }}` and open the inner block behind it, with an `end` of its own"),
            );
        }
        tokens.remove(0);
        self.open(inner, tokens, faulty, span, true);
    }

    fn end(&mut self, span: Span) {
        if self.ignored > 0 {
            self.ignored -= 1;
            return;
        }
        self.chain_ignored = false;
        if self.stack.is_empty() {
            self.sink.push(
                SyntaxError::new(
                    "template-unexpected-end",
                    span,
                    "this `end` closes nothing",
                    "nothing is open",
                )
                .help("remove it, or write the `if`, `range` or `with` before it"),
            );
            return self.push(Piece::Error(span));
        }
        while self.close() {}
    }

    /// Closes the innermost block; says whether the one around it ends here too.
    fn close(&mut self) -> bool {
        let Some(block) = self.stack.pop() else { return false };
        if block.kind == Kind::Range && block.otherwise.is_none() {
            self.ranges = self.ranges.saturating_sub(1);
        }
        self.leave(block.scope);
        let Block { kind, span, pipeline, mut body, mut otherwise, chained, .. } = block;
        body.shrink_to_fit();
        otherwise.iter_mut().for_each(Vec::shrink_to_fit);
        let branch = Box::new(Branch { span, pipeline, body, otherwise });
        self.push(match kind {
            Kind::If => Piece::If(branch),
            Kind::Range => Piece::Range(branch),
            Kind::With => Piece::With(branch),
        });
        chained
    }

    /// The template, once its text is read. What is still open is reported.
    pub(super) fn finish(mut self) -> (Vec<Piece>, Sink) {
        while let Some(block) = self.stack.last() {
            // A chained block shares its `end` with the one around it, which is reported.
            if !block.chained {
                let (span, word) = (block.span, block.kind.word());
                self.sink.push(
                    SyntaxError::new(
                        "template-unclosed-block",
                        span,
                        format!("this `{word}` has no `end`"),
                        "opened here",
                    )
                    .help("write `{{ end }}` where it ends"),
                );
            }
            (self.ignored, self.chain_ignored) = (0, false);
            self.close();
        }
        self.root.shrink_to_fit();
        (self.root, self.sink)
    }

    // ---- pipelines and variables

    fn pipeline(
        &mut self,
        tokens: Vec<Placed>,
        faulty: bool,
        span: Span,
        context: &str,
        range: bool,
    ) -> Option<Pipeline> {
        if self.ignored > 0 || self.chain_ignored || faulty {
            return None;
        }
        if tokens.is_empty() {
            self.sink.push(
                SyntaxError::new(
                    "template-syntax",
                    span,
                    if context == "an action" {
                        "this action is empty".to_owned()
                    } else {
                        format!("`{context}` needs a value")
                    },
                    "expected a value",
                )
                .help("write for example `.Vars.name`"),
            );
            return None;
        }
        if let Some(error) = brackets(&tokens) {
            self.sink.push(error);
            return None;
        }
        if let Some((start, name, end)) = keyword(&tokens) {
            self.sink.push(
                SyntaxError::new(
                    "template-syntax",
                    Span::new(start, end),
                    format!("`{name}` is a keyword and cannot stand here"),
                    "keyword",
                )
                .help(format!("`{name}` begins an action of its own: `{{{{ {name} ... }}}}`")),
            );
            return None;
        }
        let close = Span::new(span.end.saturating_sub(2).max(span.start), span.end);
        match grammar::PipelineParser::new().parse(tokens.into_iter().map(Ok::<_, ()>)) {
            Ok(pipeline) => {
                self.variables_of(&pipeline, range);
                build::check(&pipeline, &mut self.sink);
                Some(pipeline)
            }
            Err(error) => {
                self.sink.push(build::describe(error, close));
                None
            }
        }
    }

    /// Checks the variables a pipeline uses and takes up those it declares, in the order in which they come into being.
    fn variables_of(&mut self, pipeline: &Pipeline, range: bool) {
        for operand in pipeline.commands.iter().flat_map(|command| &command.operands) {
            match &operand.kind {
                OperandKind::Variable { name, .. } if name.text != "$" => self.used(&name.text, name.span),
                OperandKind::Paren(inner, _) => self.variables_of(inner, false),
                _ => {}
            }
        }
        let Some(declare) = &pipeline.declare else { return };
        if declare.names.len() > 1 && !range {
            let span =
                declare.names.iter().skip(1).fold(declare.names[0].span, |all, name| all.cover(name.span));
            self.sink.push(
                SyntaxError::new("template-syntax", span, "only `range` sets two variables", "two variables")
                    .help("set them one by one"),
            );
        }
        for name in &declare.names {
            if name.text == "$" {
                self.sink.push(
                    SyntaxError::new("template-syntax", name.span, "`$` cannot be set", "needs a name")
                        .help("write `$name := ...`"),
                );
            } else if declare.assign {
                self.used(&name.text, name.span);
            } else {
                *self.declared.entry(name.text.clone()).or_default() += 1;
                self.variables.push(name.text.clone());
            }
        }
    }

    fn used(&mut self, name: &str, span: Span) {
        if self.declared.get(name).is_none_or(|count| *count == 0) {
            self.sink.push(
                SyntaxError::new(
                    "template-undefined-variable",
                    span,
                    format!("the variable `{name}` is not declared here"),
                    "not declared",
                )
                .help(format!(
                    "declare it before: `{{{{ {name} := ... }}}}`; policy variables are `.Vars.{}`",
                    name.trim_start_matches('$')
                )),
            );
        }
    }

    /// Ends the scope of all variables beyond the first `scope`.
    fn leave(&mut self, scope: usize) {
        while self.variables.len() > scope {
            if let Some(name) = self.variables.pop()
                && let Some(count) = self.declared.get_mut(&name)
            {
                *count -= 1;
            }
        }
    }
}

/// How many variables a pipeline declares.
fn names(pipeline: &Pipeline) -> usize {
    pipeline.declare.as_ref().map_or(0, |declare| if declare.assign { 0 } else { declare.names.len() })
}

fn too_deep(span: Span) -> SyntaxError {
    SyntaxError::new("nesting-too-deep", span, format!("more than {DEEPEST} levels of nesting"), "too deep")
        .help("move the inner part into a variable or a template file of its own")
}

/// What is wrong with the parentheses, before anything is built of them.
fn brackets(tokens: &[Placed]) -> Option<SyntaxError> {
    let mut open = Vec::new();
    for (start, tok, end) in tokens {
        let span = Span::new(*start, *end);
        match tok {
            Tok::Open => open.push(span),
            Tok::Close if open.pop().is_none() => {
                return Some(
                    SyntaxError::new("template-syntax", span, "this `)` has no `(`", "not opened")
                        .help("remove it, or write the `(` before it"),
                );
            }
            _ => {}
        }
        if open.len() > DEEPEST {
            return Some(too_deep(span));
        }
    }
    open.last().map(|span| {
        SyntaxError::new("template-syntax", *span, "this `(` is never closed", "opened here")
            .help("close it with `)` before the `}}`")
    })
}

/// The first keyword where a function is due.
fn keyword(tokens: &[Placed]) -> Option<(u32, &str, u32)> {
    tokens.iter().find_map(|(start, tok, end)| match tok {
        Tok::Function(name)
            if matches!(
                name.text.as_str(),
                "if" | "else"
                    | "end"
                    | "range"
                    | "with"
                    | "break"
                    | "continue"
                    | "define"
                    | "template"
                    | "block"
            ) =>
        {
            Some((*start, name.text.as_str(), *end))
        }
        _ => None,
    })
}
