//! Which host a command is about: the arguments, and what they name.

use super::failure::Failure;
use super::host::Host;
use super::input;
use crate::policy::Policy;
use ir::Value;
use std::path::PathBuf;

/// Arguments of every command about one host.
#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    /// The name of the host.
    host: String,
    /// The root of the policy.
    dir: Option<PathBuf>,
    /// Traits of the host: a JSON file such as {"os": {"family": "debian"}}; `-` reads stdin.
    #[arg(long, value_name = "FILE")]
    traits: Option<PathBuf>,
    /// Takes another environment than the entry's.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
}

/// What was asked about, read.
pub(super) struct Asked<'a> {
    args: &'a HostArgs,
    policy: Policy,
    traits: Value,
}

impl HostArgs {
    /// Reads the policy and the traits.
    pub(super) fn read(&self, directory: Option<PathBuf>) -> Result<Asked<'_>, Failure> {
        let root = input::root(self.dir.as_deref(), directory)?;
        let traits = input::traits(self.traits.as_deref())?;
        Ok(Asked { args: self, policy: Policy::open(&root)?, traits })
    }
}

impl Asked<'_> {
    /// The host. Its class may have errors.
    pub(super) fn host(&self) -> Result<Host<'_>, Failure> {
        Host::find(&self.policy, &self.args.host, self.args.environment.as_deref(), &self.traits)
    }

    /// The host, when it can be compiled with the traits that were given.
    pub(super) fn compiled(&self) -> Result<Host<'_>, Failure> {
        let host = self.host()?;
        host.need_no_errors()?;
        host.need_traits()?;
        Ok(host)
    }
}
