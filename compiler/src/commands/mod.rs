//! The `vigoc` command line. One command a file; what they share stands in [`failure`], [`input`], [`output`],
//! [`replace`], [`host`].

pub mod ask;
mod asked;
mod build;
mod bundle;
mod check;
mod doc;
mod eval;
mod explain;
mod failure;
mod fix;
mod fleet;
mod fmt;
mod graph;
mod host;
mod init;
mod input;
mod inspect;
mod lsp;
mod needs;
mod output;
mod parse;
mod plan;
mod rdeps;
mod replace;
mod residual;
mod resolve;
mod rule;
mod schema;
mod search;
mod second_report;
mod test;

use clap::{CommandFactory, Parser, Subcommand};
use failure::{Exit, Failure};
use output::Form;
use std::path::PathBuf;
use std::process::ExitCode;

/// Checks, explains and compiles policy.
#[derive(Debug, Parser)]
#[command(name = "vigoc", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    color: colorchoice_clap::Color,
    /// The root of the policy [default: the policy that this directory is in].
    #[arg(short = 'C', value_name = "DIR", global = true)]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  vigoc init policy                                  a small working policy
  vigoc check policy                                 is everything right?
  vigoc rule needs-quotes                            what does a finding mean?
  vigoc resolve web-01.example.com policy            what does this host get?
  vigoc explain web-01.example.com policy --var port     why?
  vigoc plan HEAD policy --fleet fleet.jsonl         what do my edits do, and where?

Exit codes: 0 success, 1 findings, 64 wrong usage, 65 input that cannot be read, 70 a bug of vigoc.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Finds everything that can be known to be wrong without a host.
    Check(check::Args),
    /// Applies what findings offer to change.
    Fix(fix::Args),
    /// Explains a kind of finding.
    Rule(rule::Args),
    /// Prints the desired state of one host.
    Resolve(resolve::Args),
    /// Says why a host gets something, and why not.
    Explain(explain::Args),
    /// Prints a file as plain data.
    Parse(parse::Args),
    /// Evaluates one condition or template.
    Eval(eval::Args),
    /// Lays files out in the one way.
    Fmt(fmt::Args),
    /// Prints reference pages in Markdown.
    Doc(doc::Args),
    /// Compiles the policy for a fleet.
    Build(build::Args),
    /// Draws the order and the triggers of one host.
    Graph(graph::Args),
    /// Prints a blob, the bundle of an envoy or a whole build as JSON.
    Inspect(inspect::Args),
    /// Says what a change of policy does to a fleet.
    Plan(plan::Args),
    /// Says where a module, variable, role, template or trait is used.
    Rdeps(rdeps::Args),
    /// Prints the JSON Schema of a kind of file or output.
    Schema(schema::Args),
    /// Finds things by a part of their name or description.
    Search(search::Args),
    /// Runs the tests of a policy.
    Test(test::Args),
    /// Writes a small working policy.
    Init(init::Args),
    /// Runs the language server on stdin and stdout, for an editor.
    Lsp(lsp::Args),
    #[command(flatten)]
    Manual(manual::Command),
}

impl Command {
    /// The name of the command when it was asked for JSON, so that a failure is JSON too, and in which form.
    fn json(&self) -> Option<(&'static str, Form)> {
        let (command, form) = match self {
            Command::Check(a) => ("check", a.json()),
            Command::Doc(a) => ("doc", indented(a.json())),
            Command::Rule(a) => ("rule", indented(a.json())),
            Command::Resolve(a) => ("resolve", indented(a.json())),
            Command::Explain(a) => ("explain", indented(a.json())),
            Command::Eval(a) => ("eval", indented(a.json())),
            Command::Graph(a) => ("graph", indented(a.json())),
            Command::Inspect(_) => ("inspect", indented(true)),
            Command::Rdeps(a) => ("rdeps", indented(a.json())),
            Command::Search(a) => ("search", indented(a.json())),
            Command::Test(a) => ("test", indented(a.json())),
            Command::Plan(a) => ("plan", indented(a.json())),
            Command::Fix(_)
            | Command::Fmt(_)
            | Command::Parse(_)
            | Command::Build(_)
            | Command::Init(_)
            | Command::Schema(_)
            | Command::Lsp(_)
            | Command::Manual(_) => return None,
        };
        form.map(|form| (command, form))
    }

    fn run(&self, directory: Option<PathBuf>) -> Result<Exit, Failure> {
        match self {
            Command::Check(a) => check::run(a, directory),
            Command::Fix(a) => fix::run(a, directory),
            Command::Rule(a) => rule::run(a),
            Command::Resolve(a) => resolve::run(a, directory),
            Command::Explain(a) => explain::run(a, directory),
            Command::Parse(a) => parse::run(a),
            Command::Eval(a) => eval::run(a),
            Command::Fmt(a) => fmt::run(a, directory),
            Command::Doc(a) => doc::run(a, directory),
            Command::Build(a) => build::run(a, directory),
            Command::Graph(a) => graph::run(a, directory),
            Command::Inspect(a) => inspect::run(a),
            Command::Rdeps(a) => rdeps::run(a, directory),
            Command::Schema(a) => schema::run(a),
            Command::Search(a) => search::run(a, directory),
            Command::Test(a) => test::run(a, directory),
            Command::Plan(a) => plan::run(a, directory),
            Command::Init(a) => init::run(a, directory),
            Command::Lsp(a) => lsp::run(a, directory),
            Command::Manual(a) => a.run(Cli::command()).map(|()| Exit::Done).map_err(Failure::from),
        }
    }
}

fn indented(json: bool) -> Option<Form> {
    json.then_some(Form::Indented)
}

/// Runs `vigoc`.
pub fn main() -> ExitCode {
    let work = std::thread::Builder::new().name("vigoc".into()).stack_size(crate::policy::STACK).spawn(run);
    let code = match work.map(|thread| thread.join()) {
        Ok(Ok(code)) => code,
        // the panic has printed what it had to say
        Ok(Err(_)) => {
            output::error("this is a bug of vigoc; please report it together with the policy that shows it");
            failure::BUG
        }
        Err(e) => {
            output::error(&format!("cannot start: {e}"));
            failure::BUG
        }
    };
    ExitCode::from(code)
}

fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { failure::USAGE } else { 0 };
            // a closed pipe is no reason to complain
            let _ = e.print();
            return code;
        }
    };
    cli.color.write_global();
    match cli.command.run(cli.directory) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            failure.report(cli.command.json());
            failure.code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
