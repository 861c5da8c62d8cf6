//! Where the log goes and what it looks like.

use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct LogArgs {
    /// Human on a terminal, json elsewhere, unless said otherwise
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// error, warn, info, debug or trace
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: LevelFilter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

/// To stderr; stdout is for data.
pub(super) fn start(args: LogArgs) {
    let terminal = std::io::stderr().is_terminal();
    let format = args.log_format.unwrap_or(if terminal { LogFormat::Human } else { LogFormat::Json });
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(args.log_level)
        .with_target(false);
    // It fails when a log was started before; then that one stays.
    let _ = match format {
        LogFormat::Human => builder.with_ansi(colour).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
