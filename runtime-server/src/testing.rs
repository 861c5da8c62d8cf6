//! A policy in memory, for tests of this crate and of its neighbours.

use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, Variant, VariantModule};
use crate::store::lock;
use ir::{Hash, Module, Value, merkle, wire};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What the policy is at the moment; every host name but `nobody` is of one class.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Given to every envoy.
    pub modules: Vec<Module>,
    /// Read by them.
    pub secrets: Vec<String>,
    /// When not zero, the policy is not fit to be served.
    pub errors: usize,
    /// Variables: another text, another hash.
    pub vars: String,
}

/// A source whose policy can be edited.
#[derive(Clone, Debug, Default)]
pub struct MemoryPolicy {
    content: Arc<Mutex<Content>>,
    compiled: Arc<Mutex<usize>>,
}

impl MemoryPolicy {
    /// A policy of these modules. A module named `os` appears on hosts with that `os.family` only.
    pub fn new(modules: Vec<Module>) -> Self {
        let policy = Self::default();
        policy.edit(|c| c.modules = modules);
        policy
    }

    /// As an author saves a file.
    pub fn edit(&self, change: impl FnOnce(&mut Content)) {
        change(&mut lock(&self.content));
    }

    /// How many variants were compiled.
    pub fn compiled(&self) -> usize {
        *lock(&self.compiled)
    }
}

impl PolicySource for MemoryPolicy {
    fn open(&self) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Opened { source: self.clone(), read: lock(&self.content).clone() }))
    }
}

struct Opened {
    source: MemoryPolicy,
    read: Content,
}

impl Policy for Opened {
    fn refresh(&mut self) -> Result<Vec<String>, PolicyError> {
        self.read = lock(&self.source.content).clone();
        Ok(vec!["modules.vgo".into()])
    }

    fn digest(&self) -> Hash {
        Hash::of(format!("{:?}", self.read).as_bytes())
    }

    fn check(&self) -> Checked {
        Checked { errors: self.read.errors, rendered: "a made-up error".into(), ..Checked::default() }
    }

    fn class_of(&self, hostname: &str) -> Option<ClassKey> {
        (hostname != "nobody").then(|| ClassKey { file: "nodes.vgo".into(), entry: 0, environment: None })
    }

    fn layout(&self) -> Hash {
        Hash::of(b"")
    }

    fn variant(&self, class: &ClassKey, traits: &Value) -> Result<Arc<Variant>, PolicyError> {
        *lock(&self.source.compiled) += 1;
        let family = traits.at(&["os".into(), "family".into()]).and_then(Value::as_str).unwrap_or("unknown");
        let mut modules = self.read.modules.clone();
        modules.push(Module { name: "os".into(), ..module("os", family) });
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        let modules = modules
            .iter()
            .map(|m| {
                let bytes = wire::encode_module(m).map_err(|e| PolicyError(e.to_string()))?;
                Ok(VariantModule { name: m.name.clone(), hash: Hash::of(&bytes), bytes: bytes.into() })
            })
            .collect::<Result<Vec<_>, PolicyError>>()?;
        let vars_hash = Hash::of(self.read.vars.as_bytes());
        Ok(Arc::new(Variant {
            class: class.clone(),
            footprint: vec!["os.family".into()],
            environment: None,
            roles: Vec::new(),
            run_order: (0..modules.len() as u32).collect(),
            merkle_root: merkle::bundle_root(vars_hash, modules.iter().map(|m| (&*m.name, m.hash))),
            vars_hash,
            modules,
            secrets: self.read.secrets.clone(),
            required_features: Vec::new(),
        }))
    }
}

/// A module whose bytes depend on `content`.
pub fn module(name: &str, content: &str) -> Module {
    let resource = ir::Resource {
        name: "file".into(),
        kind: "file".into(),
        when: None,
        attributes: vec![("content".into(), ir::Expr::Const(content.into()))],
        depends_on: Vec::new(),
        notify: Vec::new(),
    };
    Module { name: name.into(), depends_on: Vec::new(), resources: vec![resource] }
}

/// Traits with that `os.family`.
pub fn traits(family: &str) -> Value {
    let os = Value::Map(BTreeMap::from([("family".into(), family.into())]));
    Value::Map(BTreeMap::from([("os".into(), os)]))
}
