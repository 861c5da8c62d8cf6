//! todo
use super::failure::{Exit, Failure};
use std::path::PathBuf;
/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}
impl Args {
    pub(super) fn json(&self) -> bool {
        false
    }
}
pub(super) fn run(_: &Args, _: Option<PathBuf>) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
