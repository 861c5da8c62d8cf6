//! What an editor asks about policy, in plain data: paths, byte offsets and text. Nothing here knows the protocol, and
//! everything is answered from the database of the compiler.
//!
//! [`place`] says where a position is, [`shape`] what may stand there, [`expression`] what is written inside `when:` and
//! templates, [`names`] which name it is and where else it stands. The other files are one feature each.

pub mod actions;
pub mod calls;
pub mod completion;
pub mod definition;
pub mod expression;
pub mod folding;
pub mod format;
pub mod highlight;
pub mod hover;
pub mod implementation;
pub mod inlay;
pub mod lenses;
pub mod links;
pub mod names;
pub mod place;
pub mod refactor;
pub mod rename;
pub mod secrets;
pub mod selection;
pub mod shape;
pub mod signature;
pub mod subject;
pub mod symbols;
pub mod tokens;
pub mod values;

#[cfg(test)]
pub mod fixture;

use compiler::db::{Project, RootDb, SourceFile};
use compiler::plan::Member;
use compiler::policy::{ClassKey, Policy};
use compiler::syntax::Kind;
use compiler::types::Type;
use grammar::Span;
use grammar::document::{Parsed, parse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A policy, and whose values are shown of it.
#[derive(Clone, Copy)]
pub struct Ide<'a> {
    /// The policy, with what is not saved yet.
    pub policy: &'a Policy,
    /// The envoy whose values are shown; `None`: those of all classes.
    pub envoy: Option<&'a str>,
    /// The hosts of the fleet, sorted by name; none without a fleet file.
    pub fleet: &'a [Member],
    /// The variables that the last check knew, with their types; `None`: they are looked up. Which variables there are in
    /// all takes a look at every class, which is too long after every key that is pressed.
    pub variables: Option<&'a BTreeMap<Arc<str>, Type>>,
}

/// A place in a file of the policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Relative to the root.
    pub file: Arc<str>,
    /// Bytes of it.
    pub span: Span,
}

/// Bytes of a text that become others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextChange {
    /// What goes away.
    pub span: Span,
    /// What comes instead.
    pub new: String,
}

/// A file of the policy.
pub struct Source {
    /// Relative to the root.
    pub path: Arc<str>,
    /// What it is in the database.
    pub file: SourceFile,
    /// By its path.
    pub kind: Kind,
    /// Its text.
    pub text: Arc<str>,
}

impl Source {
    /// Its tree. Templates have none.
    pub fn parsed(&self) -> Parsed {
        parse(if self.kind == Kind::Template { "" } else { &self.text })
    }

    /// The text of a span; nothing where it does not fit.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }
}

impl<'a> Ide<'a> {
    /// The database of the policy.
    pub fn queries(&self) -> (&'a RootDb, Project) {
        self.policy.queries()
    }

    /// A file with text.
    pub fn source(&self, path: &str) -> Option<Source> {
        let file = self.policy.file(path)?;
        let (db, _) = self.queries();
        Some(Source {
            path: file.path(db).clone(),
            file,
            kind: Kind::of(path),
            text: self.policy.text(path)?,
        })
    }

    /// The class of the chosen envoy.
    pub fn chosen(&self) -> Option<ClassKey> {
        self.policy.class_of(self.envoy?)
    }
}
