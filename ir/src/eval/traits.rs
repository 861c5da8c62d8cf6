//! Functions of `when:` that are about traits.

use super::machine::{Machine, Step, path_name};
use super::{EvalErrorKind, Outcome};
use crate::builtin::Builtin;
use crate::builtin::version;
use crate::expr::{Expr, Root};
use crate::facts::Fact;
use crate::value::Value;
use std::cmp::Ordering;
use std::sync::Arc;

impl Machine<'_> {
    pub(super) fn trait_call(&mut self, f: Builtin, args: Vec<Value>) -> Step<Outcome> {
        let decide: &dyn Fn(&Value) -> Result<bool, EvalErrorKind> = &|fact| match f {
            Builtin::VersionGe | Builtin::VersionLt => {
                let [wanted] = args.as_slice() else { return Err(complaint(f, "takes one or two versions")) };
                versions(f, fact, wanted)
            }
            Builtin::IsContainer | Builtin::IsVirtual => match fact {
                Value::Bool(b) => Ok(*b),
                v => Err(EvalErrorKind::Type { expected: "bool", found: v.kind() }),
            },
            _ => Ok(args.contains(fact)),
        };
        let path: Vec<Arc<str>> = match (f, args.as_slice()) {
            (Builtin::HasTrait, [Value::Str(path)]) => path.split('.').map(Arc::from).collect(),
            (Builtin::HasTrait, _) => {
                let kind = complaint(f, "takes the path of a trait");
                return self.fail(kind, || rebuild(f, args));
            }
            (Builtin::VersionGe | Builtin::VersionLt, [have, wanted]) => {
                return match versions(f, have, wanted) {
                    Ok(b) => Ok(Outcome::Known(Value::Bool(b))),
                    Err(kind) => self.fail(kind, || rebuild(f, args)),
                };
            }
            _ => own_path(f).iter().map(|s| Arc::from(*s)).collect(),
        };
        let answer = match self.facts.path(Root::Traits, &path) {
            Fact::Known(v) if f == Builtin::HasTrait => Ok(v != Value::Null),
            Fact::Absent if f == Builtin::HasTrait => Ok(false),
            Fact::Known(v) => decide(&v),
            Fact::Absent => Err(EvalErrorKind::Absent(path_name(Root::Traits, &path))),
            Fact::NotYet => {
                self.note_open(|| path_name(Root::Traits, &path));
                return Ok(Outcome::Residual(rebuild(f, args)));
            }
        };
        match answer {
            Ok(b) => Ok(Outcome::Known(Value::Bool(b))),
            Err(kind) => self.fail(kind, || rebuild(f, args)),
        }
    }
}

fn own_path(f: Builtin) -> &'static [&'static str] {
    match f {
        Builtin::OsFamily => &["os", "family"],
        Builtin::Distro => &["os", "distro"],
        Builtin::Arch => &["os", "arch"],
        Builtin::IsContainer => &["container", "inside"],
        Builtin::IsVirtual => &["virtual", "inside"],
        _ => &["os", "version"],
    }
}

fn versions(f: Builtin, have: &Value, wanted: &Value) -> Result<bool, EvalErrorKind> {
    let (Value::Str(have), Value::Str(wanted)) = (have, wanted) else {
        return Err(complaint(f, "a version is a string"));
    };
    let order = version::compare(have, wanted);
    Ok(if f == Builtin::VersionGe { order != Ordering::Less } else { order == Ordering::Less })
}

fn complaint(function: Builtin, message: &str) -> EvalErrorKind {
    EvalErrorKind::Call { function, message: message.to_owned() }
}

fn rebuild(f: Builtin, args: Vec<Value>) -> Expr {
    Expr::Call(f, args.into_iter().map(Expr::Const).collect())
}
