//! The agent's log: lines on stderr, for a terminal or for the journal.
//!
//! Texts from outside end up in it, so what is not seen is escaped and a second line can be told from a new message. The
//! journal has a clock and colours of its own; it is told how urgent a line is.

use crate::text::printable;
use anstyle::{AnsiColor, Style};
use std::fmt;
use std::os::fd::AsFd;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{DefaultFields, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Terminal { color: bool },
    Journal,
}

/// From here on everything that is told goes to stderr, up to that level.
pub fn begin(level: LevelFilter) {
    let reader = match is_journal() {
        true => Reader::Journal,
        false => Reader::Terminal {
            color: anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never,
        },
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .event_format(Lines(reader))
        .init();
}

/// systemd says which stream is connected to the journal: a descriptor of ours that was passed on elsewhere is not.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(std::io::stderr().as_fd()) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

struct Lines(Reader);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = FormattedFields::<DefaultFields>::new(String::new());
        DefaultFields::new().format_fields(fields.as_writer(), event)?;
        write(&mut out, self.0, *event.metadata().level(), &fields)
    }
}

fn write(out: &mut dyn fmt::Write, reader: Reader, level: Level, text: &str) -> fmt::Result {
    for (at, line) in text.split('\n').enumerate() {
        let indent = if at == 0 { "" } else { "  " };
        let line = printable(line);
        match reader {
            Reader::Journal => writeln!(out, "<{}>{indent}{line}", urgency(level))?,
            Reader::Terminal { color } => {
                let style = if color { style(level) } else { Style::new() };
                let word = if at == 0 { level.as_str() } else { "" };
                writeln!(out, "{style}{word:>5}{style:#} {indent}{line}")?;
            }
        }
    }
    Ok(())
}

/// As syslog counts.
fn urgency(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn style(level: Level) -> Style {
    match level {
        Level::ERROR => AnsiColor::Red.on_default(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        _ => Style::new().dimmed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reader: Reader, text: &str) -> String {
        let mut out = String::new();
        write(&mut out, reader, Level::WARN, text).unwrap();
        out
    }

    #[test]
    fn case_079_a_text_from_outside_forges_no_line_and_drives_no_terminal() {
        let text = "host says \u{1b}[2J\u{202e}x\r\n<0>kernel: all is lost";
        assert_eq!(
            told(Reader::Journal, text),
            "<4>host says \\u{1b}[2J\\u{202e}x\\r\n<4>  <0>kernel: all is lost\n"
        );
        let terminal = told(Reader::Terminal { color: false }, text);
        assert_eq!(terminal, " WARN host says \\u{1b}[2J\\u{202e}x\\r\n        <0>kernel: all is lost\n");
        assert!(told(Reader::Terminal { color: true }, "x").contains("\u{1b}[33m"));
        assert!(!told(Reader::Journal, "x").contains('\u{1b}'), "the journal has colours of its own");
    }
}
