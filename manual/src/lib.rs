//! What every program says about itself to a shell and to `man`, from its own command line: nothing is written twice.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests"))]

use clap::Subcommand;
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Commands that every program has.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints completions for a shell
    #[command(after_help = "Examples, all programs of Vigo alike:
  vigoc completions bash > /etc/bash_completion.d/vigoc
  vigo completions zsh > /usr/local/share/zsh/site-functions/_vigo
  vigosrv completions fish > ~/.config/fish/completions/vigosrv.fish")]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Writes the man pages, one for each command
    #[command(after_help = "Example, all programs of Vigo alike:
  vigoc man --out /usr/local/share/man/man1")]
    Man {
        /// Where; made if it does not exist
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Why there are none.
#[derive(Debug)]
pub struct Error {
    place: String,
    cause: io::Error,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot write {}: {}", self.place, self.cause)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Command {
    /// Does it for a program. A reader that went away is no error.
    pub fn run(&self, program: clap::Command) -> Result<(), Error> {
        match self {
            Command::Completions { shell } => match io::stdout().write_all(&completions(*shell, program)) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other.map_err(|cause| Error { place: "to stdout".into(), cause }),
            },
            Command::Man { out } => {
                man(out, program).map_err(|cause| Error { place: format!("to {}", out.display()), cause })
            }
        }
    }
}

fn completions(shell: Shell, mut program: clap::Command) -> Vec<u8> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    // Into memory: the generator panics when it cannot write.
    clap_complete::generate(shell, &mut program, name, &mut script);
    script
}

fn man(out: &Path, program: clap::Command) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    // Pages of `help` would say what the others say.
    clap_mangen::generate_to(program.disable_help_subcommand(true), out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser, ValueEnum};

    /// Sees that things are well.
    #[derive(Parser)]
    #[command(name = "overseer", version)]
    struct Program {
        #[command(subcommand)]
        command: Both,
    }

    #[derive(Subcommand)]
    enum Both {
        /// Looks
        Look {
            /// Far away
            #[arg(long)]
            far: bool,
        },
        #[command(flatten)]
        Manual(Command),
    }

    #[test]
    fn each_shell_knows_each_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(completions(*shell, Program::command())).unwrap();
            for word in ["overseer", "look", "far", "completions"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn each_command_has_a_page_and_each_page_is_the_same_every_time() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("a/man1"), dir.path().join("b"));
        man(&one, Program::command()).unwrap();
        man(&two, Program::command()).unwrap();
        let mut pages: Vec<String> =
            std::fs::read_dir(&one).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        pages.sort();
        assert_eq!(pages, ["overseer-completions.1", "overseer-look.1", "overseer-man.1", "overseer.1"]);
        for page in pages {
            assert_eq!(std::fs::read(one.join(&page)).unwrap(), std::fs::read(two.join(&page)).unwrap());
        }
        let page = std::fs::read_to_string(one.join("overseer-look.1")).unwrap();
        assert!(page.contains("Far away"), "{page}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_and_not_a_panic() {
        let error = Command::Man { out: "/proc/none".into() }.run(Program::command()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write to /proc/none: "), "{error}");
    }
}
