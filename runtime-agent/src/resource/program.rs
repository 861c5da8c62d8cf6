//! Programs of the machine that resource types act through. They are given words, never a line for a shell.

use super::{Context, ResourceError};
use crate::command::{Answer, Command, CommandError, Input};
use crate::root::{ManagedPath, Root};
use crate::text::{bounded, printable};
use std::time::Duration;

/// Asking is quick even on a busy host; what does not answer is stuck.
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// A program with its arguments.
pub struct Program<'a> {
    root: &'a Root,
    command: Command,
    /// How many of the words an error may show; the rest may be long, or be of no use.
    shown: usize,
    /// How many words behind the first it does not.
    skipped: usize,
    /// What it writes may hold a secret.
    hidden: bool,
}

impl<'a> Context<'a> {
    /// A program, found where the platform says. It may take a minute.
    pub fn program<S: Into<String>>(&self, words: impl IntoIterator<Item = S>) -> Program<'a> {
        let mut command = Command::new(words.into_iter().map(Into::into).collect(), ASK_LIMIT);
        command.environment.insert("PATH".to_owned(), self.platform.search_path());
        // Answers are read by us, so they have to be in one language.
        command.environment.insert("LC_ALL".to_owned(), "C.UTF-8".to_owned());
        Program { root: self.root, command, shown: 12, skipped: 0, hidden: false }
    }
}

impl Program<'_> {
    /// With another limit of time.
    pub fn within(mut self, limit: Duration) -> Self {
        self.command.timeout = limit;
        self
    }

    /// With something to read.
    pub fn given(mut self, input: &str) -> Self {
        self.command.input = Some(Input::from(input));
        self
    }

    /// With a secret to read, which it may repeat when it complains.
    pub fn given_secret(mut self, input: &str) -> Self {
        self.hidden = true;
        self.given(input)
    }

    /// With a variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.command.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// In a directory.
    pub fn inside(mut self, directory: &ManagedPath) -> Self {
        self.command.cwd = Some(directory.clone());
        self
    }

    /// As another user.
    pub fn run_as(mut self, user: &str) -> Self {
        self.command.user = Some(user.to_owned());
        self
    }

    /// An error leaves out this many words behind the first: settings that are always the same.
    pub fn told_without(mut self, words: usize) -> Self {
        self.skipped = words;
        self
    }

    /// An error shows this many of its words.
    pub fn showing(mut self, words: usize) -> Self {
        self.shown = words;
        self
    }

    /// Runs; any exit code is an answer.
    pub fn ask(&self) -> Result<Answer, ResourceError> {
        let elsewhere = crate::outside::of(&self.command, self.root);
        match elsewhere.as_ref().unwrap_or(&self.command).ask(self.root) {
            Err(CommandError::Spawn { program, source }) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(ResourceError::NoProgram(program))
            }
            other => Ok(other?),
        }
    }

    /// [`Program::ask`]; `None` where there is no such program, which an earlier resource may yet have to install.
    pub fn ask_if_there(&self) -> Result<Option<Answer>, ResourceError> {
        match self.ask() {
            Err(ResourceError::NoProgram(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Runs; another exit code than 0 is an error that shows what it wrote.
    pub fn run(&self) -> Result<Answer, ResourceError> {
        let answer = self.ask()?;
        if answer.code == 0 { Ok(answer) } else { Err(self.failed(answer)) }
    }

    /// The error of an answer that is none.
    pub fn failed(&self, answer: Answer) -> ResourceError {
        let (first, rest) = self.command.argv.split_first().map_or(("", &[][..]), |(f, r)| (f.as_str(), r));
        let rest = rest.get(self.skipped..).unwrap_or_default();
        let words: Vec<&str> =
            std::iter::once(first).chain(rest.iter().map(String::as_str)).take(self.shown).collect();
        let more = if words.len() <= rest.len() { " ..." } else { "" };
        let output = match (answer.stdout.trim_end(), answer.stderr.trim_end()) {
            (out, "") => out.to_owned(),
            ("", err) => err.to_owned(),
            (out, err) => format!("{out}\n{err}"),
        };
        let output = if self.hidden { "(output hidden: it was given a secret)".to_owned() } else { output };
        ResourceError::Exit {
            what: format!("`{}{more}`", printable(bounded(&words.join(" "), 300))),
            code: answer.code,
            expected: "0".to_owned(),
            output,
        }
    }
}
