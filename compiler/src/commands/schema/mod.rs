//! `vigoc schema`: JSON Schema of what people write and of what `vigoc` prints, for editors and for programs. It is made of
//! the tables that the compiler reads with.

mod outputs;
mod policy;
mod values;

use super::failure::{Exit, Failure};
use super::output;
use clap::ValueEnum;
use serde_json::{Value as Json, json};

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What the schema is of [default: list all].
    #[arg(value_enum)]
    kind: Option<Kind>,
}

const EXAMPLES: &str = "Examples:
  vigoc schema                           all there are
  vigoc schema module > module.json      for an editor that completes YAML
  vigoc schema check                     what `vigoc check --format json` prints

A policy that fits its schema may still be wrong: `vigoc check` knows the names, the types of templates and the rest.

Exit codes: 0 printed, 64 wrong usage, or there is no such kind.";

/// What there are schemas of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Module,
    Roles,
    Nodes,
    Common,
    Environments,
    Test,
    Fleet,
    Traits,
    Check,
    CheckNdjson,
    Doc,
    Eval,
    Explain,
    Graph,
    Inspect,
    Plan,
    Rdeps,
    Resolve,
    Rule,
    Search,
    #[value(name = "test-output")]
    TestOutput,
}

impl Kind {
    fn about(self) -> &'static str {
        match self {
            Kind::Module => "modules/**/*.vgo: a module",
            Kind::Roles => "roles.vgo: named lists of modules",
            Kind::Nodes => "nodes.vgo: node entries",
            Kind::Common => "common.vgo: what the node entries of a directory and below get",
            Kind::Environments => "environments.vgo: what differs between environments",
            Kind::Test => "tests/**/*.vgo: policy tests",
            Kind::Fleet => "a fleet file: a list of hosts; a line of JSON Lines is one host",
            Kind::Traits => "a traits file: what is known of a host",
            Kind::Check => "what `vigoc check --format json` prints",
            Kind::CheckNdjson => "a line of what `vigoc check --format ndjson` prints",
            Kind::Doc => "what `vigoc doc --format json` prints",
            Kind::Eval => "what `vigoc eval --format json` prints",
            Kind::Explain => "what `vigoc explain --format json` prints",
            Kind::Graph => "what `vigoc graph --format json` prints",
            Kind::Inspect => "what `vigoc inspect` prints",
            Kind::Plan => "what `vigoc plan --format json` prints",
            Kind::Rdeps => "what `vigoc rdeps --format json` prints",
            Kind::Resolve => "what `vigoc resolve --format json` prints",
            Kind::Rule => "what `vigoc rule --format json` prints",
            Kind::Search => "what `vigoc search --format json` prints",
            Kind::TestOutput => "what `vigoc test --format json` prints",
        }
    }

    fn schema(self) -> Json {
        match self {
            Kind::Module => policy::module(),
            Kind::Roles => policy::roles(),
            Kind::Nodes => policy::nodes(),
            Kind::Common => policy::common(),
            Kind::Environments => policy::environments(),
            Kind::Test => policy::test(),
            Kind::Fleet => values::fleet(),
            Kind::Traits => values::traits(values::Place::Json),
            Kind::Check => outputs::check(),
            Kind::CheckNdjson => outputs::check_lines(),
            Kind::Doc => outputs::doc(),
            Kind::Eval => outputs::eval(),
            Kind::Explain => outputs::explain(),
            Kind::Graph => outputs::graph(),
            Kind::Inspect => outputs::inspect(),
            Kind::Plan => outputs::plan(),
            Kind::Rdeps => outputs::rdeps(),
            Kind::Resolve => outputs::resolve(),
            Kind::Rule => outputs::rule(),
            Kind::Search => outputs::search(),
            Kind::TestOutput => outputs::test(),
        }
    }

    /// The whole document.
    fn document(self) -> Json {
        let mut out =
            json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": self.about() });
        if let (Json::Object(out), Json::Object(fields)) = (&mut out, self.schema()) {
            out.extend(fields);
        }
        out
    }
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match args.kind {
        Some(kind) => output::data(&output::pretty(&kind.document()))?,
        None => output::data(&list())?,
    }
    Ok(Exit::Done)
}

fn list() -> String {
    let named = Kind::value_variants().iter().filter_map(|k| Some((k.to_possible_value()?, k.about())));
    named.map(|(name, about)| format!("{:<12}  {about}\n", name.get_name())).collect()
}

/// A mapping with these keys and no others.
fn object(keys: &[&str], required: &[&str], schema_of: impl Fn(&str) -> Json) -> Json {
    let properties: serde_json::Map<String, Json> =
        keys.iter().map(|key| ((*key).to_owned(), schema_of(key))).collect();
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

/// The same, with words for people.
fn described(text: &str, mut schema: Json) -> Json {
    if let Json::Object(fields) = &mut schema {
        fields.insert("description".into(), text.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a table of the compiler has a key that no schema here knows, the schema would let everything pass.
    fn without_description(at: &str, schema: &Json, out: &mut Vec<String>) {
        match schema {
            Json::Object(fields) => {
                for (name, inner) in fields {
                    let place = format!("{at}/{name}");
                    if let (true, Some(properties)) = (name == "properties", inner.as_object()) {
                        let bare = properties
                            .iter()
                            .filter(|(_, s)| s["description"].as_str().is_none_or(str::is_empty));
                        out.extend(bare.map(|(key, _)| format!("{place}/{key}")));
                    }
                    without_description(&place, inner, out);
                }
            }
            Json::Array(items) => items.iter().for_each(|item| without_description(at, item, out)),
            _ => {}
        }
    }

    #[test]
    fn every_key_of_the_compiler_is_described() {
        for kind in [Kind::Module, Kind::Roles, Kind::Nodes, Kind::Common, Kind::Environments, Kind::Test] {
            let mut bare = Vec::new();
            without_description("", &kind.document(), &mut bare);
            bare.retain(|place| {
                !place.contains("/then/") && !place.contains("/if/") && !place.contains("/traits/")
            });
            assert_eq!(bare, [""; 0], "{kind:?}");
        }
    }

    #[test]
    fn every_schema_is_one() {
        for kind in Kind::value_variants() {
            let document = kind.document();
            assert!(jsonschema::meta::is_valid(&document), "{kind:?}");
            jsonschema::validator_for(&document).unwrap();
        }
    }
}
