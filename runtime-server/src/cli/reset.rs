//! `vigosrv reset`: the CA's word that agents begin anew.

use super::setup::{self, actor};
use super::{ConfigArgs, FINDING, Failure, INPUT};
use crate::clock::Clock;
use crate::files;
use crate::pki::Ca;
use crate::store::audit::{self, Event};
use crate::store::meta;
use clap::Args;
use protocol::reset::Reset;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The epoch to go on at [default: the one after the last]
    #[arg(long, value_name = "N")]
    min_epoch: Option<u64>,
    /// The CA's key, when it is kept elsewhere than where the configuration says
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
}

/// No cluster comes near it, and the database holds it.
const MOST: u64 = 1 << 62;

pub(super) fn reset(args: &ResetArgs) -> Result<(), Failure> {
    let (config, mut conn) = setup::open(&args.config.config)?;
    let input = |e: &dyn std::fmt::Display| Failure::new(INPUT, e);
    let certificate = files::read_text(&config.tls.ca).map_err(|e| input(&e))?;
    let key = args.ca_key.as_ref().unwrap_or(&config.tls.ca_key);
    let key = Zeroizing::new(files::read_text(key).map_err(|e| input(&e))?);
    let ca = Ca::load(&certificate, &key).map_err(|e| input(&e))?;

    let (now, actor) = (Clock::system().now(), actor());
    let made = conn.attempt(|conn| {
        let last = meta::lock_epoch(conn)?;
        let min_epoch = args.min_epoch.unwrap_or(last + 1);
        if min_epoch <= last {
            let message = format!(
                "epoch {last} was given out already, so a key of epoch {min_epoch} could be an old one; \
                 give a higher --min-epoch, or none"
            );
            return Ok(Err(Failure::new(FINDING, message)));
        }
        if min_epoch > MOST {
            return Ok(Err(Failure::new(64, format!("--min-epoch is at most {MOST}"))));
        }
        // By the clock, so that it grows also when the database with the last one was lost.
        let known = meta::reset(conn)?.map_or(0, |(reset, _)| reset.number);
        let reset = Reset { number: now.max(known + 1), min_epoch };
        let statement = match ca.reset(&config.cluster_id, reset) {
            Ok(statement) => statement,
            Err(e) => return Ok(Err(Failure::new(super::INTERNAL, e))),
        };
        meta::set_reset(conn, &statement)?;
        let details = format!("epochs before {min_epoch} are retired");
        audit::append(conn, &Event::new(now, &actor, "reset", &reset.number.to_string(), &details))?;
        Ok(Ok(min_epoch))
    })?;
    let min_epoch = made?;
    anstream::eprintln!(
        "agents begin anew at epoch {min_epoch} with their next check-in; a running server takes a new signing key within \
         seconds"
    );
    if config.signing_key_file.is_some() {
        anstream::eprintln!(
            "`signing.key_file` stays the key: if it may be in the wrong hands, put a new one there and restart the server"
        );
    }
    Ok(())
}
