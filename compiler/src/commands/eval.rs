//! `vigoc eval`: one condition or template, with data given as JSON.

use super::failure::{Exit, Failure};
use super::residual::value_json;
use super::resolve::Format;
use super::{input, output};
use crate::diagnostic::codes::{EVALUATION_FAILED, LIMIT_EXCEEDED};
use crate::diagnostic::{Diagnostic, Place, Sink};
use crate::expr::{Lowered, Scope, VarType, VarTypes, template, when};
use crate::facts::{ClassFacts, known_traits};
use crate::schema::Stage;
use crate::types::Type;
use crate::values::secret_path;
use grammar::Span;
use ir::unparse::{template_text, when_text};
use ir::{Budget, Builtin, EvalErrorKind, Fact, Facts, Outcome, Root, Value};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["when", "template"]))]
pub(super) struct Args {
    /// A condition.
    #[arg(long, value_name = "EXPR")]
    when: Option<String>,
    /// A file with a template; `-` reads stdin.
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Variables, as a JSON object.
    #[arg(long, value_name = "FILE")]
    vars: Option<PathBuf>,
    /// Traits, as a nested JSON object.
    #[arg(long, value_name = "FILE")]
    traits: Option<PathBuf>,
    /// `hostname`, `environment`, `roles` and `modules`, as a JSON object.
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// The element of a `foreach:`, as JSON.
    #[arg(long, value_name = "FILE")]
    item: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  vigoc eval --when \"os_family('debian') && vars.port > 1024\" --vars vars.json --traits traits.json
  vigoc eval --template motd.tmpl --vars vars.json
  vigoc eval --when \"file_exists('/etc/motd')\" --format json

What only a host can know stays an expression.

Exit codes: 0 evaluated, 1 the text has errors, 64 wrong usage, 65 data that cannot be read.";

impl Args {
    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let data = Data::read(args)?;
    let (name, text) = match (&args.when, &args.template) {
        (Some(when), _) => ("<when>".to_owned(), when.clone()),
        (None, Some(path)) if path == Path::new("-") => ("<stdin>".into(), input::text(path)?),
        (None, Some(path)) => (path.display().to_string(), input::text(path)?),
        (None, None) => return Err(Failure::Usage("give --when or --template".into())),
    };
    let is_when = args.when.is_some();
    let mut sink = Sink::new(name.into());
    let result = evaluated(&text, is_when, &data, &mut sink);
    let outcome = match result {
        Some(outcome) if sink.found.is_empty() => outcome,
        _ => {
            let message = if is_when { "the condition has errors" } else { "the template has errors" };
            let texts = [(sink.file, text.into())].into_iter().collect();
            return Err(Failure::Findings { message: message.into(), found: sink.found, texts });
        }
    };
    print(args.format, is_when, outcome)?;
    Ok(Exit::Done)
}

fn print(format: Format, is_when: bool, outcome: Outcome) -> Result<(), Failure> {
    let left_text = |left: &ir::Expr| if is_when { when_text(left) } else { template_text(left) };
    match (format, outcome) {
        (Format::Json, Outcome::Known(value)) => {
            output::document("eval", json!({ "value": value_json(&value) }))
        }
        (Format::Json, Outcome::Residual(left)) => {
            output::document("eval", json!({ "expr": left_text(&left) }))
        }
        (Format::Human, Outcome::Known(Value::Str(text))) if !is_when => output::data(&text),
        (Format::Human, Outcome::Known(value)) => {
            let text = ir::render(&value).unwrap_or_else(|_| value_json(&value).to_string());
            output::data(&format!("{text}\n"))
        }
        (Format::Human, Outcome::Residual(left)) => {
            let newline = if is_when { "\n" } else { "" };
            output::data(&format!("{}{newline}", left_text(&left)))?;
            output::note("not everything is known: this is what is left for the host to finish");
            Ok(())
        }
    }
}

/// Parses, types and evaluates; `None` when an error was reported.
fn evaluated(text: &str, is_when: bool, data: &Data, sink: &mut Sink) -> Option<Outcome> {
    let scope = Scope {
        vars: &data.types,
        module: None,
        item: data.item.as_ref(),
        stage: Stage::Converge,
        place: if is_when { "a condition" } else { "a template" },
        changed: true,
    };
    let whole = Span::new(0, u32::try_from(text.len()).unwrap_or(u32::MAX));
    let file = sink.file.clone();
    let from_syntax = |e| Diagnostic::from_syntax(&file, e, &|s| s);
    let lowered: Lowered = if is_when {
        let (tree, errors) = grammar::when::parse(text);
        sink.found.extend(errors.into_iter().map(from_syntax));
        when::lower_any(&tree, &scope, sink)
    } else {
        let (tree, errors) = grammar::template::parse(text);
        sink.found.extend(errors.into_iter().map(from_syntax));
        template::lower(&tree, whole, &|s| s, &scope, sink)
    };
    if !sink.found.is_empty() {
        return None;
    }
    match ir::eval(&lowered.expr, data, &mut Budget::default()) {
        Ok(outcome) => Some(outcome),
        Err(error) => {
            let limit = matches!(error.kind, EvalErrorKind::TooManySteps | EvalErrorKind::TooMuchText);
            let code = if limit { &LIMIT_EXCEEDED } else { &EVALUATION_FAILED };
            let place = Place { file: sink.file.clone(), span: lowered.spans.follow(&error.trail) };
            sink.push(Diagnostic::new(code, place, error.kind.to_string()).label("here"));
            None
        }
    }
}

/// What was given.
struct Data {
    facts: ClassFacts,
    types: VarTypes,
    item: Option<Type>,
    /// Fields of the envoy that were given; the others are not known yet.
    envoy: Vec<Arc<str>>,
}

impl Data {
    fn read(args: &Args) -> Result<Data, Failure> {
        let mut facts = ClassFacts::default();
        let mut types = VarTypes::new();
        if let Some(path) = &args.vars
            && let Value::Map(vars) = input::object(path, "variables")?
        {
            for (name, value) in vars.into_iter().filter(|(_, v)| *v != Value::Null) {
                let value = with_secrets(value);
                types.insert(name.clone(), VarType::Set(Type::of(&value)));
                facts.vars.insert(name, Some(value));
            }
        }
        facts.traits = known_traits(&input::traits(args.traits.as_deref())?, |_| true).into_iter().collect();
        let mut envoy = Vec::new();
        if let Some(path) = &args.envoy
            && let Value::Map(fields) = input::object(path, "fields of an envoy")?
        {
            for (field, value) in &fields {
                set_field(&mut facts, field, value)
                    .map_err(|why| Failure::Input(format!("`{}`: {why}", path.display())))?;
            }
            envoy = fields.into_keys().collect();
        }
        if let Some(path) = &args.item {
            let item = input::value(&input::json(path)?)
                .map_err(|why| Failure::Input(format!("`{}`: {why}", path.display())))?;
            facts.item = Some(with_secrets(item));
        }
        let item = facts.item.as_ref().map(Type::of);
        Ok(Data { facts, types, item, envoy })
    }

    fn knows(&self, field: &str) -> bool {
        self.envoy.iter().any(|f| &**f == field)
    }
}

fn set_field(facts: &mut ClassFacts, field: &str, value: &Value) -> Result<(), String> {
    let text = || match value {
        Value::Str(s) => Ok(Some(s.clone())),
        Value::Null => Ok(None),
        _ => Err(format!("`{field}` is not text")),
    };
    let list = || match value {
        Value::List(items) => items
            .iter()
            .map(|v| v.as_str().map(Arc::from).ok_or_else(|| format!("`{field}` is not a list of text")))
            .collect(),
        _ => Err(format!("`{field}` is not a list of text")),
    };
    match field {
        "hostname" => facts.hostname = text()?,
        "environment" => facts.environment = text()?,
        "roles" => facts.roles = list()?,
        "modules" => facts.modules = list()?,
        _ => return Err(format!("an envoy has hostname, environment, roles and modules, not `{field}`")),
    }
    Ok(())
}

/// `secret:path` is a secret, as in a policy.
fn with_secrets(value: Value) -> Value {
    match value {
        Value::Str(s) => match secret_path(&s) {
            Some(path) => Value::Secret(path.into()),
            None => Value::Str(s),
        },
        Value::List(items) => Value::List(items.into_iter().map(with_secrets).collect()),
        Value::Map(map) => Value::Map(map.into_iter().map(|(k, v)| (k, with_secrets(v))).collect()),
        other => other,
    }
}

impl Facts for Data {
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact {
        match (root, segments.first()) {
            (Root::Envoy, Some(field)) if !self.knows(field) => Fact::NotYet,
            _ => self.facts.path(root, segments),
        }
    }

    fn secret(&self, path: &str) -> Fact {
        self.facts.secret(path)
    }

    fn ask(&self, function: Builtin, args: &[Value]) -> Fact {
        let field = match function {
            Builtin::EnvIs => "environment",
            Builtin::HasRole => "roles",
            Builtin::HasModule => "modules",
            _ => return self.facts.ask(function, args),
        };
        if self.knows(field) { self.facts.ask(function, args) } else { Fact::NotYet }
    }
}
