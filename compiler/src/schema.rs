//! What `stdlib` says about resource types, traits and functions. Read once; nothing about them is
//! written anywhere else.

use crate::types::{Refinement, Type};
use grammar::document::{Core, Node, Value as Written};
use ir::{Builtin, Finite, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Everything `stdlib` declares.
#[derive(Debug, Default)]
pub struct Schema {
    /// By name.
    pub types: BTreeMap<Arc<str>, ResourceType>,
    /// By dotted path.
    pub traits: BTreeMap<Arc<str>, Trait>,
    /// By name.
    pub functions: BTreeMap<Arc<str>, Function>,
    /// What in `stdlib` could not be read; a test holds this empty.
    pub problems: Vec<String>,
}

/// A resource type.
#[derive(Debug)]
pub struct ResourceType {
    /// Its name.
    pub name: Arc<str>,
    /// For people.
    pub doc: String,
    /// The attribute that says which thing it is.
    pub key: Arc<str>,
    /// Whether one envoy may have only one per key.
    pub unique: bool,
    /// What the keys are names of: types that share it cannot have the same key either.
    pub domain: Arc<str>,
    /// By name.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// Sets of which at most one may be given.
    pub exclusive: Vec<Vec<Arc<str>>>,
    /// (this, needs that).
    pub requires: Vec<(Arc<str>, Arc<str>)>,
    /// Attributes of which one makes it idempotent; empty when it always is.
    pub guards: Vec<Arc<str>>,
    /// Values of an attribute with which it does something in every run.
    pub triggered: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Values that exclude each other.
    pub conflicts: Vec<Conflict>,
    /// Resources as they stand under `resources:` of a module, with no indent. Tests compile and apply them.
    pub example: String,
    /// What the tests apply the example to.
    pub tried: Tried,
}

/// What the tests apply the example of a resource type to: once, once more without a change, and again after something was
/// changed from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Files below a directory, in the gate (`tests/tests/tried.rs`).
    Files,
    /// A Debian in a root of its own (`tests/real/run`).
    Debian,
    /// A Debian that systemd has booted (`tests/real/systemd`).
    Systemd,
    /// The same root as for [`Tried::Debian`], where other programs or files take the place of what acts on the machine.
    StandIns {
        /// Why nothing else can be done.
        because: String,
    },
}

impl Tried {
    /// As `stdlib` has it.
    pub fn name(&self) -> &'static str {
        match self {
            Tried::Files => "files",
            Tried::Debian => "debian",
            Tried::Systemd => "systemd",
            Tried::StandIns { .. } => "stand-ins",
        }
    }
}

/// A value of one attribute that excludes values of others.
#[derive(Debug)]
pub struct Conflict {
    /// The attribute, and its value.
    pub when: (Arc<str>, Value),
    /// Other attributes, each with the values that it cannot have then.
    pub excludes: Vec<(Arc<str>, Vec<Value>)>,
    /// What to write instead.
    pub help: String,
}

/// An attribute of a resource type.
#[derive(Debug)]
pub struct Attribute {
    /// Its type.
    pub ty: Type,
    /// Whether it must be given.
    pub required: bool,
    /// Filled in where nothing is written.
    pub default: Option<Value>,
    /// Whether a secret may flow here.
    pub sensitive: bool,
    /// Whether `source:` and `template:` may give it.
    pub source: bool,
    /// For people.
    pub doc: String,
}

/// A trait.
#[derive(Debug)]
pub struct Trait {
    /// Its type.
    pub ty: Type,
    /// Every value it can have, when it is an enum.
    pub values: Vec<Value>,
    /// Stable and the same on many hosts; otherwise only the agent knows it.
    pub shared: bool,
    /// Whether a host may lack it.
    pub optional: bool,
    /// For people.
    pub doc: String,
}

/// When a function can be computed at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From its arguments and the class.
    Publish,
    /// From shared traits.
    Specialise,
    /// On the host.
    Converge,
}

impl Stage {
    /// All of them, the earliest first.
    pub const ALL: [Stage; 3] = [Stage::Publish, Stage::Specialise, Stage::Converge];

    /// As `stdlib` has it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Publish => "publish",
            Stage::Specialise => "specialise",
            Stage::Converge => "converge",
        }
    }
}

/// A function.
#[derive(Debug)]
pub struct Function {
    /// What computes it.
    pub builtin: Builtin,
    /// Types of its arguments.
    pub params: Vec<Param>,
    /// How many of the last `params` may be left out.
    pub optional: usize,
    /// Type of any further arguments.
    pub variadic: Option<Param>,
    /// How many arguments at least, where `variadic` alone would allow none.
    pub min: usize,
    /// Type of the result.
    pub returns: Type,
    /// When it can be computed.
    pub stage: Stage,
    /// Traits it reads.
    pub reads: Vec<Arc<str>>,
    /// May stand in `when:`.
    pub in_when: bool,
    /// May stand in a template.
    pub in_template: bool,
    /// For people.
    pub doc: String,
    /// One call as it is written; of a function for both, one of a condition.
    pub example: String,
}

/// What an argument has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// A value of this type.
    Of(Type),
    /// An int or a float.
    Number,
    /// The path of a trait, as literal text.
    TraitPath,
    /// `HH:MM`, as literal text.
    Time,
    /// A day of the week, as literal text.
    Weekday,
    /// An int from the first to the second.
    Within(i64, i64),
}

/// The schema of this compiler.
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(read);
    &SCHEMA
}

impl Schema {
    /// Whether the paths of some traits begin with this one, and a dot.
    pub fn is_trait_group(&self, path: &str) -> bool {
        let from = format!("{path}.");
        self.traits.keys().any(|known| known.starts_with(&from))
    }
}

impl ResourceType {
    /// Whether the key itself has to be given.
    pub fn is_key_required(&self) -> bool {
        self.attributes.get(&self.key).is_some_and(|key| key.required)
    }

    /// What may be given in the place of the key: the attributes that exclude it. One of them all has to be given.
    pub fn instead_of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<str>> {
        let of_key = *name == *self.key;
        let sets = self.exclusive.iter().filter(move |set| of_key && set.contains(&self.key));
        sets.flatten().filter(|other| **other != self.key)
    }

    /// A key as it is compared with others: of two spellings of one path the plainest.
    pub fn canonical<'a>(&self, key: &'a str) -> Cow<'a, str> {
        let path = self.attributes.get(&self.key).map(|a| &a.ty) == Some(&Type::Refined(Refinement::Path));
        let plain = |part: &&str| !part.is_empty() && *part != ".";
        if !path || key.split('/').skip(1).all(|part| plain(&part)) {
            return Cow::Borrowed(key);
        }
        Cow::Owned(format!("/{}", key.split('/').filter(plain).collect::<Vec<_>>().join("/")))
    }
}

impl Function {
    /// How many arguments it takes: at least, and at most.
    pub fn arity(&self) -> (usize, Option<usize>) {
        let least = (self.params.len() - self.optional).max(self.min);
        (least, self.variadic.is_none().then_some(self.params.len()))
    }

    /// What argument `at` of `count` has to be. Where leading arguments are the optional ones
    /// (`version_ge([v,] v)`), all are of one type, so positions do not matter.
    pub fn param(&self, at: usize) -> Option<&Param> {
        self.params.get(at).or(self.variadic.as_ref())
    }
}

fn read() -> Schema {
    let mut out = Schema::default();
    for (path, text) in stdlib::files() {
        let parsed = grammar::document::parse(text);
        for e in &parsed.errors {
            out.problems.push(format!("{path}: {}", e.message));
        }
        let root = parsed.root;
        if let Some(traits) = root.get("traits").and_then(Node::as_map) {
            for e in traits {
                match read_trait(&e.value) {
                    Some(t) => drop(out.traits.insert(Arc::from(e.key.text.as_str()), t)),
                    None => out.problems.push(format!("{path}: trait {}", e.key.text)),
                }
            }
        } else if let Some(functions) = root.get("functions").and_then(Node::as_map) {
            for e in functions {
                match read_function(&e.key.text, &e.value) {
                    Some(f) => drop(out.functions.insert(Arc::from(e.key.text.as_str()), f)),
                    None => out.problems.push(format!("{path}: function {}", e.key.text)),
                }
            }
        } else {
            match read_type(&root) {
                Some(t) => drop(out.types.insert(t.name.clone(), t)),
                None => out.problems.push(format!("{path}: resource type")),
            }
        }
    }
    out
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::as_str).map(str::to_owned)
}

fn flag(node: &Node, key: &str) -> bool {
    text(node, key).as_deref() == Some("true")
}

fn list(node: &Node, key: &str) -> Vec<Arc<str>> {
    let items = node.get(key).and_then(Node::as_seq).unwrap_or_default();
    items.iter().filter_map(Node::as_str).map(Arc::from).collect()
}

fn read_type(root: &Node) -> Option<ResourceType> {
    let mut attributes = BTreeMap::new();
    for e in root.get("attributes")?.as_map()? {
        let ty = Type::parse(e.value.get("type")?.as_str()?)?;
        let default = match e.value.get("default") {
            Some(node) => Some(plain_value(node)?),
            None => None,
        };
        let attribute = Attribute {
            ty,
            required: flag(&e.value, "required"),
            default,
            sensitive: flag(&e.value, "sensitive"),
            source: flag(&e.value, "source"),
            doc: text(&e.value, "doc")?,
        };
        attributes.insert(Arc::from(e.key.text.as_str()), attribute);
    }
    let sets = |key: &str| root.get(key).and_then(Node::as_seq).unwrap_or_default();
    let exclusive = sets("exclusive")
        .iter()
        .filter_map(Node::as_seq)
        .map(|set| set.iter().filter_map(Node::as_str).map(Arc::from).collect())
        .collect();
    let requires = sets("requires")
        .iter()
        .map(|pair| Some((pair.get("when")?.as_str()?.into(), pair.get("needs")?.as_str()?.into())))
        .collect::<Option<_>>()?;
    let triggered = root.get("triggered").and_then(Node::as_map).unwrap_or_default();
    let triggered = triggered.iter().map(|e| {
        let values = e.value.as_seq()?.iter().map(|v| v.as_str().map(Arc::from));
        Some((Arc::from(e.key.text.as_str()), values.collect::<Option<_>>()?))
    });
    Some(ResourceType {
        name: Arc::from(root.get("type")?.as_str()?),
        doc: text(root, "doc")?,
        key: Arc::from(root.get("key")?.as_str()?),
        unique: flag(root, "unique"),
        domain: text(root, "domain")
            .map_or_else(|| Some(Arc::from(root.get("type")?.as_str()?)), |d| Some(d.into()))?,
        attributes,
        exclusive,
        requires,
        guards: list(root, "guards"),
        triggered: triggered.collect::<Option<_>>()?,
        conflicts: sets("conflicts").iter().map(read_conflict).collect::<Option<_>>()?,
        example: text(root, "example").unwrap_or_default(),
        tried: match (root.get("tried")?.as_str()?, text(root, "stand_ins")) {
            ("files", None) => Tried::Files,
            ("debian", None) => Tried::Debian,
            ("systemd", None) => Tried::Systemd,
            ("stand-ins", Some(because)) => Tried::StandIns { because },
            _ => return None,
        },
    })
}

fn read_conflict(node: &Node) -> Option<Conflict> {
    let when = node.get("when")?.as_map()?.first()?;
    let excludes = node.get("excludes")?.as_map()?.iter().map(|e| {
        let values = e.value.as_seq()?.iter().map(plain_value);
        Some((Arc::from(e.key.text.as_str()), values.collect::<Option<_>>()?))
    });
    Some(Conflict {
        when: (Arc::from(when.key.text.as_str()), plain_value(&when.value)?),
        excludes: excludes.collect::<Option<_>>()?,
        help: text(node, "help")?,
    })
}

fn read_trait(node: &Node) -> Option<Trait> {
    let ty = Type::parse(node.get("type")?.as_str()?)?;
    let values = match &ty {
        Type::Refined(Refinement::Enum(values)) => values.iter().map(|v| Value::Str(v.clone())).collect(),
        _ => Vec::new(),
    };
    Some(Trait {
        ty,
        values,
        shared: match node.get("scope")?.as_str()? {
            "shared" => true,
            "host" => false,
            _ => return None,
        },
        optional: flag(node, "optional"),
        doc: text(node, "doc")?,
    })
}

fn read_function(name: &str, node: &Node) -> Option<Function> {
    let uses = list(node, "use");
    let number = |key: &str| match node.get(key) {
        Some(n) => n.as_str()?.parse().ok(),
        None => Some(0),
    };
    Some(Function {
        builtin: Builtin::from_name(name)?,
        params: list(node, "params").iter().map(|p| read_param(p)).collect::<Option<_>>()?,
        optional: number("optional")?,
        variadic: match node.get("variadic") {
            Some(n) => Some(read_param(n.as_str()?)?),
            None => None,
        },
        min: number("min")?,
        returns: Type::parse(node.get("returns")?.as_str()?)?,
        stage: {
            let name = node.get("stage")?.as_str()?;
            Stage::ALL.into_iter().find(|stage| stage.name() == name)?
        },
        reads: list(node, "reads"),
        in_when: uses.iter().any(|u| &**u == "when"),
        in_template: uses.iter().any(|u| &**u == "template"),
        doc: text(node, "doc")?,
        example: text(node, "example").unwrap_or_default(),
    })
}

fn read_param(name: &str) -> Option<Param> {
    Some(match name {
        "number" => Param::Number,
        "trait" => Param::TraitPath,
        "text_time" => Param::Time,
        "weekday" => Param::Weekday,
        // the end of a range is no longer part of it, so 24 and 60 may be one
        "hour" => Param::Within(0, 24),
        "minute" => Param::Within(0, 60),
        "day_of_month" => Param::Within(1, 31),
        other => Param::Of(Type::parse(other)?),
    })
}

/// A value by the core schema, for the defaults of `stdlib`.
fn plain_value(node: &Node) -> Option<Value> {
    Some(match &node.value {
        Written::Scalar(s) => match s.core() {
            Core::Null => Value::Null,
            Core::Bool(b) => Value::Bool(b),
            Core::Int(i) => Value::Int(i),
            Core::Float(f) => Value::Float(Finite::new(f)?),
            Core::Str => Value::str(&s.text),
            Core::OutOfRange => return None,
        },
        Written::Seq(items) => Value::List(items.iter().map(plain_value).collect::<Option<_>>()?),
        Written::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|e| Some((Arc::from(e.key.text.as_str()), plain_value(&e.value)?)))
                .collect::<Option<_>>()?,
        ),
        Written::Null | Written::Error => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Content;
    use crate::policy::Policy;

    /// Where this fails for a new type: its file needs an `example:`, a literal block (`example: |`) with the resources
    /// as they stand under `resources:` of a module, in a policy that consists of them alone.
    #[test]
    fn every_type_has_an_example_that_compiles_without_a_finding() {
        for (name, ty) in &schema().types {
            let file = format!("stdlib/types/{name}.vgo");
            assert!(
                ty.example.contains(&format!("type: {name}\n")),
                "{file} needs an `example: |` with a list of resources as under `resources:` of a module, at least one of \
                 them with a line `type: {name}`"
            );
            let resources: String = ty.example.lines().map(|line| format!("  {line}\n")).collect();
            let module = format!("name: example\nresources:\n{resources}");
            let nodes = "nodes:\n  - match: host.test\n    modules: [example]\n";
            let files = [("modules/example.vgo", module.as_str()), ("nodes.vgo", nodes)];
            let file_of = |(path, text): (&str, &str)| (Arc::from(path), Content::Text(text.into()));
            let report = Policy::of(files.map(file_of).into()).check();
            let findings: Vec<String> = report
                .diagnostics
                .iter()
                .map(|d| format!("{} [{}] {:?}", d.message, d.code, d.help))
                .collect();
            assert!(findings.is_empty(), "the example of {file} is not clean: {findings:#?}\n{module}");
            assert!(report.allowed.is_empty(), "the example of {file} hides a finding");
        }
    }

    #[test]
    fn stdlib_reads_without_a_problem_and_every_function_is_there() {
        let schema = schema();
        assert_eq!(schema.problems, Vec::<String>::new());
        for b in Builtin::ALL {
            assert!(schema.functions.contains_key(b.name()), "stdlib lacks {}", b.name());
            assert!(schema.functions[b.name()].example.contains(b.name()), "{} has no example", b.name());
        }
        for (name, ty) in &schema.types {
            assert!(ty.attributes.contains_key(&ty.key), "{name}");
            // What a comment cuts off (`PKCS #8`) does not end like a sentence.
            let docs = ty.attributes.iter().map(|(attribute, a)| (attribute, &a.doc));
            for (of, doc) in docs.chain([(name, &ty.doc)]) {
                assert!(doc.trim_end().ends_with(['.', '`']), "{name}, {of}: `{doc}` is no sentence");
            }
            for conflict in &ty.conflicts {
                let (attribute, value) = &conflict.when;
                let all = conflict.excludes.iter().flat_map(|(a, values)| values.iter().map(move |v| (a, v)));
                for (attribute, value) in all.chain([(attribute, value)]) {
                    let known = &ty.attributes[attribute].ty;
                    let fits = match known {
                        Type::Refined(Refinement::Enum(values)) => {
                            values.iter().any(|v| Some(&**v) == value.as_str())
                        }
                        known => Type::of(value).fits(known),
                    };
                    assert!(fits, "{name}: {attribute} is never {value:?}");
                }
            }
            for (attribute, a) in &ty.attributes {
                if let Some(default) = &a.default {
                    assert!(Type::of(default).fits(&a.ty), "{name}.{attribute}");
                }
            }
        }
        for (name, f) in &schema.functions {
            for path in &f.reads {
                assert!(schema.traits.get(path).is_some_and(|t| t.shared), "{name} reads {path}");
            }
        }
    }
}
