//! One file: from text to what it declares, with spans. Nothing here looks at another file.

pub mod allow;
pub mod condition;
pub mod fields;
pub mod layers;
pub mod module;
pub mod nodes;
pub mod roles;
pub mod test;
pub mod text;

pub use condition::Condition;
pub use layers::{EnvironmentAst, LayerAst};
pub use module::{AttributeAst, ModuleAst, ParamAst, ResourceAst};
pub use nodes::EntryAst;
pub use roles::RoleAst;
pub use test::TestAst;
pub use text::{Syn, SynKind, Text};

use crate::db::{Content, Db, SourceFile};
use crate::diagnostic::codes::{FILE_TOO_LARGE, LINK_LEAVES_ROOT, NOT_UTF8, OLDER_SPELLING, UNREADABLE_FILE};
use crate::diagnostic::{Diagnostic, Sink};
use grammar::Span;
use grammar::document::{Core, Node, Value};
use std::sync::Arc;

/// Text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The text.
    pub text: Arc<str>,
    /// Its place.
    pub span: Span,
}

/// Variables of one layer, in the order they are written.
pub type Variables = Vec<(Name, Syn)>;

/// What a file is, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `modules/**/*.vgo`
    Module,
    /// `roles.vgo` at the root.
    Roles,
    /// `common.vgo` in any directory.
    Common,
    /// `environments.vgo` in any directory.
    Environments,
    /// Anything below `templates/`.
    Template,
    /// `tests/**/*.vgo`
    Test,
    /// Every other `.vgo`.
    Nodes,
}

impl Kind {
    /// The kind of a file by its path relative to the root.
    pub fn of(path: &str) -> Kind {
        let name = path.rsplit('/').next().unwrap_or(path);
        match path.split('/').next() {
            Some("modules") if path.contains('/') => Kind::Module,
            Some("templates") if path.contains('/') => Kind::Template,
            Some("tests") if path.contains('/') => Kind::Test,
            _ if path == "roles.vgo" => Kind::Roles,
            _ => match name {
                "common.vgo" => Kind::Common,
                "environments.vgo" | "per_env_overrides.vgo" => Kind::Environments,
                _ => Kind::Nodes,
            },
        }
    }
}

/// The directory of a path, without a trailing `/`; the root is the empty text.
pub fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// What a file declares.
#[derive(Debug)]
pub struct FileAst {
    /// Findings about this file alone.
    pub found: Vec<Diagnostic>,
    /// What it declares.
    pub body: Body,
    /// What its comments allow.
    pub allows: Vec<allow::Allow>,
}

/// What a file declares, by its kind.
#[derive(Debug)]
pub enum Body {
    /// `None`: the file cannot be read as a module at all.
    Module(Option<Box<ModuleAst>>),
    /// Roles.
    Roles(Vec<RoleAst>),
    /// Node entries.
    Nodes(Vec<EntryAst>),
    /// A `common.vgo`.
    Common(Box<LayerAst>),
    /// An `environments.vgo`.
    Environments(Vec<EnvironmentAst>),
    /// Policy tests.
    Tests(Vec<TestAst>),
    /// Not looked at here.
    Other,
}

/// What a file declares.
#[salsa::tracked(returns(ref), no_eq)]
pub fn ast(db: &dyn Db, file: SourceFile) -> FileAst {
    let path = file.path(db);
    let kind = Kind::of(path);
    let mut sink = Sink::new(path.clone());
    let text = match (kind, file.content(db)) {
        (Kind::Template, Content::Text(text)) => {
            // most templates have no such comment, and some files here are no templates
            let comments = match text.contains("vigo:") {
                true => grammar::template::parse(text).0.comments,
                false => Vec::new(),
            };
            let allows = allow::read_template(text, &comments, &mut sink);
            return FileAst { found: sink.found, body: Body::Other, allows };
        }
        (Kind::Template, Content::Bytes(_)) => {
            return FileAst { found: Vec::new(), body: Body::Other, allows: Vec::new() };
        }
        (_, Content::Text(text)) => text,
        (_, content) => {
            sink.push(unusable(&sink, content));
            return FileAst { found: sink.found, body: empty(kind), allows: Vec::new() };
        }
    };
    let parsed = grammar::document::parse(text);
    for error in parsed.errors {
        let path = sink.file.clone();
        sink.push(Diagnostic::from_syntax(&path, error, &|s| s));
    }
    let mut root = parsed.root;
    let allows = allow::read(text, &parsed.comments, &root, &mut sink);
    nulls(&mut root);
    let body = match kind {
        Kind::Module => Body::Module(module::read(root, &mut sink).map(Box::new)),
        Kind::Roles => Body::Roles(roles::read(root, &mut sink)),
        Kind::Common => Body::Common(Box::new(layers::read_common(root, &mut sink))),
        Kind::Environments => {
            if path.ends_with("per_env_overrides.vgo") {
                let finding = sink
                    .say(&OLDER_SPELLING, Span::new(0, 0), "`per_env_overrides.vgo` is an older spelling")
                    .help("name the file `environments.vgo`");
                sink.push(finding);
            }
            Body::Environments(layers::read_environments(root, &mut sink))
        }
        Kind::Nodes => Body::Nodes(nodes::read(root, &mut sink)),
        Kind::Test => Body::Tests(test::read(root, &mut sink)),
        Kind::Template => Body::Other,
    };
    FileAst { found: sink.found, body, allows }
}

/// A plain `null` or `~` is nothing, wherever it stands.
fn nulls(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) if scalar.core() == Core::Null => node.value = Value::Null,
        Value::Seq(items) => items.iter_mut().for_each(nulls),
        Value::Map(entries) => entries.iter_mut().for_each(|e| nulls(&mut e.value)),
        Value::Scalar(_) | Value::Null | Value::Error => {}
    }
}

fn empty(kind: Kind) -> Body {
    match kind {
        Kind::Module => Body::Module(None),
        Kind::Roles => Body::Roles(Vec::new()),
        Kind::Nodes => Body::Nodes(Vec::new()),
        Kind::Environments => Body::Environments(Vec::new()),
        Kind::Common | Kind::Template | Kind::Test => Body::Other,
    }
}

/// Why the content of a file cannot be used.
pub fn unusable(sink: &Sink, content: &Content) -> Diagnostic {
    let at = Span::new(0, 0);
    let file = &sink.file;
    match content {
        Content::Bytes(bytes) => {
            let good = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
            let line = bytes[..good].iter().filter(|b| **b == b'\n').count() + 1;
            sink.say(&NOT_UTF8, at, format!("`{file}` is not UTF-8 text (byte {good}, line {line})"))
                .help("save it as UTF-8")
        }
        Content::TooLarge(size) => sink
            .say(&FILE_TOO_LARGE, at, format!("`{file}` has {size} bytes; a file may have 16 MiB"))
            .help("split it, or ship large content in another way"),
        Content::Unreadable(why) => sink
            .say(&UNREADABLE_FILE, at, format!("`{file}` cannot be read: {why}"))
            .help("mend its permissions, or the link, or take it out of the policy"),
        Content::LeavesRoot => sink
            .say(&LINK_LEAVES_ROOT, at, format!("`{file}` is a symlink that leads out of the policy"))
            .help("copy what it points to into the policy"),
        Content::Text(_) => sink.say(&UNREADABLE_FILE, at, format!("`{file}` cannot be used here")),
    }
}
