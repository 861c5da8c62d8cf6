//! Where the log goes and what it looks like.

use crate::telemetry::{self, Telemetry};
use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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

/// Everything of ours, for people.
pub(super) fn start_verbose() {
    start(LogArgs { log_format: Some(LogFormat::Human), log_level: LevelFilter::DEBUG }, None);
}

/// To stderr; stdout is for data. Spans go to whoever collects them, and are not made when nobody does.
pub(super) fn start(args: LogArgs, telemetry: Option<&Telemetry>) {
    let terminal = std::io::stderr().is_terminal();
    let format = args.log_format.unwrap_or(if terminal { LogFormat::Human } else { LogFormat::Json });
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // Libraries say at `info` what interests their authors only: salsa, every query.
    let others = args.log_level.min(if args.log_level == LevelFilter::TRACE {
        args.log_level
    } else {
        LevelFilter::WARN
    });
    let levels = Targets::new()
        .with_default(others)
        .with_target("runtime_server", args.log_level)
        .with_target("runtime_agent", args.log_level)
        .with_target(telemetry::TARGET, LevelFilter::OFF);
    let lines = match format {
        LogFormat::Human => layer.with_ansi(colour).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(levels));
    // It fails when a log was started before; then that one stays.
    let _ = match telemetry {
        Some(telemetry) => subscriber.with(telemetry.layer()).try_init(),
        None => subscriber.try_init(),
    };
}
