//! What may stand where: the language as an editor needs it, by the way down from the root of a file.

use super::place::Step;
use compiler::syntax::{Kind, layers, module, nodes, roles};

/// What a place in a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A module.
    Module,
    /// The parameters of a module, by name.
    Params,
    /// One parameter.
    Param,
    /// The name of a type.
    ParamType,
    /// A value of the type of the parameter.
    ParamDefault,
    /// Variables by name.
    Variables,
    /// The value of a variable, or a part of it.
    VariableValue,
    /// A `when:`.
    Condition,
    /// Attributes for all resources of a module.
    Defaults,
    /// The resources of a module.
    Resources,
    /// A resource.
    Resource,
    /// A name that is declared here.
    Declared,
    /// The type of a resource.
    TypeRef,
    /// The variable of a `foreach:`.
    ListVariable,
    /// A `case:`.
    Case,
    /// The branches of a `match:`.
    Branches,
    /// One of them: attributes.
    Branch,
    /// The value of an attribute, or a part of it.
    AttributeValue,
    /// References to resources.
    ResourceRefs,
    /// Names of modules.
    ModuleRefs,
    /// Names of roles.
    RoleRefs,
    /// The name of an environment.
    EnvironmentRef,
    /// The root of `roles.vgo`.
    RolesFile,
    /// The roles.
    Roles,
    /// A role.
    Role,
    /// A `common.vgo`.
    Common,
    /// The root of `environments.vgo`.
    EnvironmentsFile,
    /// Environments by name.
    Environments,
    /// One of them.
    Environment,
    /// The root of a file of node entries.
    NodesFile,
    /// The entries.
    Entries,
    /// An entry.
    Entry,
    /// Patterns of host names.
    Patterns,
    /// `environment_overrides:`: variables by environment.
    Overrides,
    /// `conditional_vars:`
    Conditionals,
    /// One of them.
    Conditional,
    /// The root of a file of policy tests.
    TestsFile,
    /// A list of tests.
    Tests,
    /// A test.
    Test,
    /// A host name.
    Hostname,
    /// The traits of a test: a fixture, or a map of traits.
    Traits,
    /// What a test expects.
    Expect,
    /// Expected resources by name.
    ExpectedResources,
    /// What is expected of a resource.
    ExpectedResource,
    /// What is expected of a value.
    Matcher,
    /// Text for people.
    Doc,
    /// Nothing that is known.
    Unknown,
}

/// The shape at the end of a way; for a list the shape of its items is that of the list, where they are plain names.
pub fn shape(kind: Kind, way: &[Step]) -> Shape {
    match kind {
        Kind::Module => of_module(way),
        Kind::Roles => match way {
            [] => Shape::RolesFile,
            [Step::Key(k)] if k == "roles" => Shape::Roles,
            [Step::Key(k), Step::Item(_)] if k == "roles" => Shape::Role,
            [Step::Key(k), Step::Item(_), rest @ ..] if k == "roles" => of_layer(rest),
            _ => Shape::Unknown,
        },
        Kind::Common => match way {
            [] => Shape::Common,
            rest => of_layer(rest),
        },
        Kind::Environments => match way {
            [] => Shape::EnvironmentsFile,
            [Step::Key(k)] if k == "env" => Shape::Environments,
            [Step::Key(k), Step::Key(_)] if k == "env" => Shape::Environment,
            [Step::Key(k), Step::Key(_), rest @ ..] if k == "env" => of_layer(rest),
            _ => Shape::Unknown,
        },
        Kind::Nodes => match way {
            [] => Shape::NodesFile,
            [Step::Key(k)] if is_nodes(k) => Shape::Entries,
            [Step::Key(k), Step::Item(_)] if is_nodes(k) => Shape::Entry,
            [Step::Key(k), Step::Item(_), rest @ ..] if is_nodes(k) => of_entry(rest),
            _ => Shape::Unknown,
        },
        Kind::Test => match way {
            [] => Shape::TestsFile,
            [Step::Key(k)] if k == "tests" => Shape::Tests,
            [Step::Key(k), Step::Item(_)] if k == "tests" => Shape::Test,
            [Step::Key(k), Step::Item(_), rest @ ..] if k == "tests" => of_test(rest),
            rest => of_test(rest),
        },
        Kind::Template => Shape::Unknown,
    }
}

fn is_nodes(key: &str) -> bool {
    key == "nodes" || key == "envoys"
}

fn of_module(way: &[Step]) -> Shape {
    let Some((first, rest)) = way.split_first() else { return Shape::Module };
    match (first.key().unwrap_or_default(), rest) {
        ("name" | "module" | "configcrate", _) => Shape::Declared,
        ("doc", _) => Shape::Doc,
        ("params", []) => Shape::Params,
        ("params", [Step::Key(_)]) => Shape::Param,
        ("params", [Step::Key(_), Step::Key(k), ..]) => match k.as_str() {
            "type" => Shape::ParamType,
            "default" => Shape::ParamDefault,
            "doc" => Shape::Doc,
            _ => Shape::Unknown,
        },
        ("vars", []) => Shape::Variables,
        ("vars", _) => Shape::VariableValue,
        ("when", _) => Shape::Condition,
        ("depends_on", _) => Shape::ModuleRefs,
        ("defaults", []) => Shape::Defaults,
        ("defaults", _) => Shape::AttributeValue,
        ("resources", []) => Shape::Resources,
        ("resources", [Step::Item(_)]) => Shape::Resource,
        ("resources", [Step::Item(_), Step::Key(k), rest @ ..]) => of_resource(k, rest),
        _ => Shape::Unknown,
    }
}

fn of_resource(key: &str, rest: &[Step]) -> Shape {
    match (key, rest) {
        ("name", _) => Shape::Declared,
        ("type", _) => Shape::TypeRef,
        ("when", _) => Shape::Condition,
        ("foreach", _) => Shape::ListVariable,
        ("case", _) => Shape::Case,
        ("match", []) => Shape::Branches,
        ("match", [Step::Key(_)]) => Shape::Branch,
        ("match", _) => Shape::AttributeValue,
        ("depends_on" | "before" | "notify" | "subscribes", _) => Shape::ResourceRefs,
        ("doc", _) => Shape::Doc,
        _ => Shape::AttributeValue,
    }
}

fn of_layer(way: &[Step]) -> Shape {
    let Some((first, rest)) = way.split_first() else { return Shape::Unknown };
    match (first.key().unwrap_or_default(), rest) {
        ("name", _) => Shape::Declared,
        ("doc", _) => Shape::Doc,
        ("includes" | "roles", _) => Shape::RoleRefs,
        ("modules" | "exclude_modules" | "configcrates", _) => Shape::ModuleRefs,
        ("vars", []) => Shape::Variables,
        ("vars", _) => Shape::VariableValue,
        _ => Shape::Unknown,
    }
}

fn of_entry(way: &[Step]) -> Shape {
    let Some((first, rest)) = way.split_first() else { return Shape::Entry };
    match (first.key().unwrap_or_default(), rest) {
        ("match", _) => Shape::Patterns,
        ("environment", _) => Shape::EnvironmentRef,
        ("environment_overrides", []) => Shape::Overrides,
        ("environment_overrides", [_]) => Shape::Variables,
        ("environment_overrides", _) => Shape::VariableValue,
        ("conditional_vars", []) => Shape::Conditionals,
        ("conditional_vars", [Step::Item(_)]) => Shape::Conditional,
        ("conditional_vars", [Step::Item(_), Step::Key(k), rest @ ..]) => match (k.as_str(), rest) {
            ("when", _) => Shape::Condition,
            ("vars", []) => Shape::Variables,
            ("vars", _) => Shape::VariableValue,
            _ => Shape::Unknown,
        },
        _ => of_layer(way),
    }
}

fn of_test(way: &[Step]) -> Shape {
    let Some((first, rest)) = way.split_first() else { return Shape::Test };
    match (first.key().unwrap_or_default(), rest) {
        ("test", _) => Shape::Declared,
        ("envoy", _) => Shape::Hostname,
        ("environment", _) => Shape::EnvironmentRef,
        ("traits", _) => Shape::Traits,
        ("vars", []) => Shape::Variables,
        ("vars", _) => Shape::VariableValue,
        ("expect", []) => Shape::Expect,
        ("expect", [Step::Key(k), rest @ ..]) => match (k.as_str(), rest) {
            ("modules", [] | [Step::Item(_)]) => Shape::ModuleRefs,
            ("roles", [] | [Step::Item(_)]) => Shape::RoleRefs,
            ("vars", []) => Shape::Variables,
            ("resources", []) => Shape::ExpectedResources,
            ("resources", [Step::Key(_)]) => Shape::ExpectedResource,
            ("order", _) => Shape::ResourceRefs,
            ("vars" | "modules" | "roles", [_]) | ("resources", [_, _]) => Shape::Matcher,
            _ => Shape::Unknown,
        },
        _ => Shape::Unknown,
    }
}

impl Shape {
    /// The keys that the language gives a mapping of this shape.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Shape::Module => &module::KEYS,
            Shape::Param => &module::PARAM_KEYS,
            Shape::Resource => &module::RESOURCE_KEYS,
            Shape::RolesFile => &["roles"],
            Shape::Role => &roles::KEYS,
            Shape::Common => &layers::COMMON_KEYS,
            Shape::EnvironmentsFile => &["env"],
            Shape::Environment => &layers::ENVIRONMENT_KEYS,
            Shape::NodesFile => &["nodes"],
            Shape::Entry => &nodes::KEYS,
            Shape::Conditional => &nodes::CONDITIONAL_KEYS,
            Shape::TestsFile => &["test", "tests", "envoy", "environment", "traits", "vars", "expect"],
            Shape::Test => &["test", "envoy", "environment", "traits", "vars", "expect"],
            Shape::Expect => &["modules", "roles", "vars", "resources", "order", "snapshot"],
            Shape::Matcher => &["equals", "not", "contains", "lacks", "matches", "one_of", "absent"],
            _ => &[],
        }
    }

    /// Whether a mapping of this shape makes no sense without the key, or begins with it.
    pub fn needs(self, key: &str) -> bool {
        match self {
            Shape::Module | Shape::Role => key == "name",
            Shape::Resource => matches!(key, "name" | "type"),
            Shape::Entry => key == "match",
            Shape::Conditional => true,
            Shape::Test | Shape::TestsFile => matches!(key, "test" | "envoy" | "expect"),
            _ => false,
        }
    }

    /// What follows a key of the language: a value on the line, a list, or a mapping.
    pub fn follows(self, key: &str) -> Follows {
        match (self, key) {
            (_, "resources") if self == Shape::Module => Follows::Items,
            (_, "roles" | "nodes" | "tests")
                if matches!(self, Shape::RolesFile | Shape::NodesFile | Shape::TestsFile) =>
            {
                Follows::Items
            }
            (_, "conditional_vars") => Follows::Items,
            (
                _,
                "params"
                | "vars"
                | "defaults"
                | "match"
                | "env"
                | "environment_overrides"
                | "expect"
                | "resources",
            ) if self != Shape::Entry || key != "match" => Follows::Mapping,
            (
                _,
                "depends_on" | "before" | "notify" | "subscribes" | "modules" | "exclude_modules" | "roles"
                | "includes" | "order",
            ) => Follows::Names,
            _ => Follows::Value,
        }
    }

    /// Whether text here may hold `{{ }}`.
    pub fn takes_templates(self, key: Option<&str>) -> bool {
        match self {
            Shape::AttributeValue | Shape::Case => true,
            Shape::Declared => key == Some("name"),
            _ => false,
        }
    }
}

/// What follows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// A value on the same line.
    Value,
    /// Names in brackets.
    Names,
    /// Lines of a mapping.
    Mapping,
    /// Items, each on lines of its own.
    Items,
}

/// What a key of the language is for.
pub fn doc(shape: Shape, key: &str) -> Option<&'static str> {
    Some(match (shape, key) {
        (Shape::Module, "name") => "The name of the module, by which roles and node entries give it.",
        (Shape::Resource, "name") => {
            "The name of the resource in its module. With `foreach:` it has to mention `.Item`. Left out, it is the type and the key attribute."
        }
        (Shape::Role, "name") => "The name of the role.",
        (_, "doc") => "What it is for, for people.",
        (Shape::Module, "params") => "The typed interface of the module: what others may or have to set.",
        (Shape::Module, "vars") => {
            "Defaults of variables. Each type is that of its value; any later layer may set another value."
        }
        (_, "vars") => {
            "Variables of this layer. Later layers win: modules, roles, common.vgo, the entry, environments.vgo."
        }
        (Shape::Module, "when") => "A condition for the whole module.",
        (Shape::Conditional, "when") => {
            "The condition under which these variables count. It may look at shared traits and at the variables so far."
        }
        (_, "when") => {
            "A condition: the resource is there only where it is true. `changed` is true in a run in which something notified it."
        }
        (Shape::Module, "depends_on") => {
            "Modules that come first. Each has to be assigned to the same envoy."
        }
        (Shape::Module, "defaults") => "Attributes for every resource of the module whose type has them.",
        (Shape::Module, "resources") => "What the module keeps in its state.",
        (Shape::Param, "type") => "The type, such as `port`, `list<string>` or `enum(a, b)`.",
        (Shape::Param, "default") => {
            "The value where nothing sets another one. Without a default something has to set it."
        }
        (Shape::Resource, "type") => "The type of the resource.",
        (_, "foreach") => {
            "A list variable: the resource is there once for each element, which is `.Item` in templates and `item` in `when:`."
        }
        (_, "case") => "A value that chooses one of the branches of `match:`.",
        (Shape::Resource, "match") => {
            "Attributes by value of the case, laid over the resource's own; `default` is the last resort."
        }
        (_, "depends_on") => "Resources that come first, as `name` or `module.name`; `*` means every match.",
        (_, "before") => "Resources that come after this one.",
        (_, "notify") => "Resources that are told when this one changed something.",
        (_, "subscribes") => "Resources whose changes this one is told of.",
        (Shape::RolesFile, "roles") => "Named lists of modules.",
        (_, "includes") => "Roles that come before this one.",
        (Shape::Expect, "modules") => "The modules of the envoy, in run order.",
        (_, "modules") => "Modules that are given.",
        (_, "exclude_modules") => "Modules that are taken out again, whatever gave them.",
        (Shape::Expect, "roles") => "The roles of the envoy with those they include.",
        (_, "roles") => "Roles that are given.",
        (Shape::EnvironmentsFile, "env") => {
            "Environments by name, for the node entries of this directory and below."
        }
        (Shape::NodesFile, "nodes") => "Node entries: the first that matches a host decides.",
        (Shape::Entry, "match") => "Patterns of host names: `*`, `?`, `[a-z]`, `[!a]` and `{a,b}`.",
        (_, "environment") => "The environment of the envoys.",
        (_, "environment_overrides") => "Variables by environment, above those of environments.vgo.",
        (_, "conditional_vars") => "Variables that count where a condition is true.",
        (_, "test") => "What the test shows.",
        (_, "tests") => "Several tests; what stands beside them holds for all.",
        (_, "envoy") => "The host that the test is about; it need not exist.",
        (_, "traits") => "A built-in fixture such as `debian12`, or a map of traits.",
        (_, "expect") => "What has to hold.",
        (Shape::Expect, "resources") => {
            "Resources by `module.name`: `absent`, `present`, or what their attributes have to be."
        }
        (Shape::Expect, "order") => "Resources in the order in which they run.",
        (Shape::Expect, "snapshot") => "`true`: everything is as it was when `vigoc test --bless` stored it.",
        (Shape::Matcher, "equals") => "The same value.",
        (Shape::Matcher, "not") => "Another value.",
        (Shape::Matcher, "contains") => {
            "A part of a text, an item of a list, a key of a map; or several of them."
        }
        (Shape::Matcher, "lacks") => "The opposite of `contains`.",
        (Shape::Matcher, "matches") => "A regular expression that the text matches somewhere.",
        (Shape::Matcher, "one_of") => "One of several values.",
        (Shape::Matcher, "absent") => "`true`: there is no value.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_language_is_explained() {
        for shape in [
            Shape::Module,
            Shape::Param,
            Shape::Resource,
            Shape::RolesFile,
            Shape::Role,
            Shape::Common,
            Shape::EnvironmentsFile,
            Shape::Environment,
            Shape::NodesFile,
            Shape::Entry,
            Shape::Conditional,
            Shape::TestsFile,
            Shape::Test,
            Shape::Expect,
            Shape::Matcher,
        ] {
            assert!(!shape.keys().is_empty());
            for key in shape.keys() {
                assert!(doc(shape, key).is_some(), "{shape:?} {key}");
            }
        }
    }
}
