//! `vigosrv dev`.

use super::{FINDING, Failure, INPUT, INTERNAL, log};
use crate::dev::{self, DevError, Options};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// The policy
    #[arg(value_name = "POLICY_DIR")]
    policy: PathBuf,
    /// Stop after the first convergence: 0 when everything worked, 1 when something did not
    #[arg(long)]
    once: bool,
    /// The envoy's name [default: one that the policy has an entry for]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Also show the log of server and agent
    #[arg(long)]
    verbose: bool,
}

pub(super) fn dev(args: DevArgs) -> Result<(), Failure> {
    if args.verbose {
        log::start_verbose();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(INTERNAL, format!("cannot start: {e}")))?;
    let options = Options { policy: args.policy, hostname: args.hostname, once: args.once };
    match runtime.block_on(dev::run(&options)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(FINDING, "not everything converged")),
        Err(e) => Err(Failure::new(
            match &e {
                DevError::Policy(_) | DevError::Init(_) | DevError::Start(_) => INPUT,
                DevError::NoHost(_) | DevError::NoEntry(_) => FINDING,
                DevError::Temporary(_) | DevError::Reload(_) | DevError::Signals(_) | DevError::Agent(_) => {
                    INTERNAL
                }
            },
            e,
        )),
    }
}
