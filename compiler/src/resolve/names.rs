//! Names of roles, modules and environments that conditions ask for.

use super::class::{known_environments, role_numbers};
use super::index::index;
use crate::db::{Db, Project};
use crate::diagnostic::codes::{UNKNOWN_ENVIRONMENT, UNKNOWN_MODULE, UNKNOWN_ROLE};
use crate::diagnostic::nearest::{nearest, suggest};
use crate::diagnostic::{Code, Sink};
use crate::expr::{Lowered, Spans};
use grammar::Span;
use ir::{Builtin, Expr, Value};
use std::sync::Arc;

/// Reports `has_role`, `has_module` and `env_is` of what the policy does not have.
pub fn unknown_names(db: &dyn Db, project: Project, condition: &Lowered, sink: &mut Sink) {
    let mut asked = Vec::new();
    collect(&condition.expr, &condition.spans, &mut asked);
    for (function, name, span) in asked {
        let index = index(db, project);
        let (known, code, what): (Vec<&str>, &'static Code, &str) = match function {
            Builtin::HasRole => {
                (role_numbers(db, project).keys().map(|r| &**r).collect(), &UNKNOWN_ROLE, "role")
            }
            Builtin::HasModule if index.broken.contains(name) => continue,
            Builtin::HasModule => (index.modules.keys().map(|m| &**m).collect(), &UNKNOWN_MODULE, "module"),
            _ => {
                let known = known_environments(db, project).iter().map(|e| &**e).collect();
                (known, &UNKNOWN_ENVIRONMENT, "environment")
            }
        };
        if known.contains(&&**name) {
            continue;
        }
        let message = match function {
            Builtin::EnvIs => format!("nothing declares the environment `{name}`"),
            _ => format!("there is no {what} `{name}`"),
        };
        let mut finding = sink
            .say(code, span, message)
            .label(format!("unknown {what}"))
            .maybe_help(suggest(name, known.iter().copied()));
        if let Some(near) = nearest(name, known) {
            finding = finding.fix(span, format!("'{near}'"));
        }
        sink.push(finding);
    }
}

fn collect<'a>(expr: &'a Expr, spans: &Spans, out: &mut Vec<(Builtin, &'a Arc<str>, Span)>) {
    let children: Vec<&Expr> = match expr {
        Expr::Call(f @ (Builtin::HasRole | Builtin::HasModule | Builtin::EnvIs), args) => {
            for (arg, spans) in args.iter().zip(&spans.children) {
                if let Expr::Const(Value::Str(name)) = arg {
                    out.push((*f, name, spans.span));
                }
            }
            return;
        }
        Expr::Call(_, args) | Expr::List(args) => args.iter().collect(),
        Expr::And(a, b) | Expr::Or(a, b) | Expr::Compare(_, a, b) => vec![a, b],
        Expr::Not(inner) => vec![inner],
        _ => return,
    };
    for (child, spans) in children.into_iter().zip(&spans.children) {
        collect(child, spans, out);
    }
}
