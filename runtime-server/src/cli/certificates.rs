//! `vigosrv certificates`: those that `vigosrv init` made, and new ones in their place.

use super::setup::{self, actor};
use super::{ConfigArgs, FINDING, Failure, Format, INPUT};
use crate::clock::Clock;
use crate::config::Config;
use crate::files::{self, write_new};
use crate::pki::{self, Ca};
use crate::store::audit::{self, Event};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::Path;
use zeroize::Zeroizing;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct CertificatesArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(subcommand)]
    command: Option<CertificatesCommand>,
}

#[derive(Debug, Subcommand)]
enum CertificatesCommand {
    /// Make new certificates and keys for the server and the signer identity; the CA stays
    #[command(
        after_help = "The old files stay beside the new ones, with `.old` after their names. Restart the server afterwards; with \
        several servers, copy `tls/` to each of them.

Example: vigosrv certificates renew --config /etc/vigo/server.yaml --hostname vigo.example.com,10.0.0.5"
    )]
    Renew {
        #[command(flatten)]
        config: ConfigArgs,
        /// Names and addresses agents will dial
        #[arg(long, value_delimiter = ',', value_name = "NAMES", required = true)]
        hostname: Vec<String>,
    },
}

pub(super) fn certificates(args: CertificatesArgs) -> Result<(), Failure> {
    match args.command {
        None => list(&args.config, args.format),
        Some(CertificatesCommand::Renew { config, hostname }) => renew(&config, &hostname),
    }
}

fn input(e: impl ToString) -> Failure {
    Failure::new(INPUT, e)
}

fn list(config: &ConfigArgs, format: Format) -> Result<(), Failure> {
    let tls = Config::load(&config.config)?.tls;
    let now = Clock::system().now();
    let mut rows = Vec::new();
    for (name, file) in [("ca", &tls.ca), ("server", &tls.certificate), ("signer", &tls.signer)] {
        let der = pki::read_certificate("the certificate", &files::read_text(file).map_err(input)?)
            .map_err(input)?;
        let facts = protocol::certificate::facts(&der)
            .ok_or_else(|| input(format!("{} is not a certificate", file.display())))?;
        rows.push((name, file, facts));
    }
    match format {
        Format::Json => {
            let rows: Vec<Value> = rows
                .iter()
                .map(|(name, file, facts)| {
                    json!({
                        "certificate": name, "file": file, "serial": facts.serial, "not_before": facts.not_before,
                        "expires_at": facts.not_after,
                    })
                })
                .collect();
            super::list::document("certificates", json!({ "certificates": rows }))
        }
        Format::Human => {
            let rows: Vec<[String; 3]> = rows
                .iter()
                .map(|(name, file, facts)| {
                    let left = match facts.not_after.checked_sub(now) {
                        Some(left) => crate::text::good_for(left),
                        None => format!("ended {} ago", crate::text::span(now - facts.not_after)),
                    };
                    [(*name).to_owned(), left, file.display().to_string()]
                })
                .collect();
            anstream::print!("{}", crate::text::table(["CERTIFICATE", "", "FILE"], &rows));
            Ok(())
        }
    }
}

fn renew(config: &ConfigArgs, hostnames: &[String]) -> Result<(), Failure> {
    let (config, mut conn) = setup::open(&config.config)?;
    let tls = &config.tls;
    let key = Zeroizing::new(files::read_text(&tls.ca_key).map_err(input)?);
    let ca = Ca::load(&files::read_text(&tls.ca).map_err(input)?, &key).map_err(input)?;
    let now = Clock::system().now();
    let (server, server_key) = ca.issue_server(hostnames, now).map_err(|e| Failure::new(64, e))?;
    let (signer, signer_key) = ca.issue_signer(&config.cluster_id, now).map_err(input)?;
    let all = [
        (&tls.certificate, 0o644, server.as_bytes()),
        (&tls.key, 0o600, server_key.as_bytes()),
        (&tls.signer, 0o644, signer.as_bytes()),
        (&tls.signer_key, 0o600, signer_key.as_bytes()),
    ];
    for (file, _, _) in &all {
        if beside(file, "old").exists() || beside(file, "new").exists() {
            let message = format!(
                "{} or the same with `.new` is there from another time; move it away first",
                beside(file, "old").display()
            );
            return Err(Failure::new(FINDING, message));
        }
    }
    // All of them are written before any of them counts.
    for (file, mode, content) in &all {
        write_new(&beside(file, "new"), *mode, content).map_err(input)?;
    }
    for (file, _, _) in &all {
        let moved = std::fs::hard_link(file, beside(file, "old"))
            .and_then(|()| std::fs::rename(beside(file, "new"), file));
        moved.map_err(|e| input(format!("cannot put the new {} in place: {e}", file.display())))?;
    }
    let details = format!("for {}", hostnames.join(", "));
    audit::append(&mut conn, &Event::new(now, &actor(), "certificates.renew", "server, signer", &details))?;
    anstream::eprintln!(
        "new certificates for {} are in {}; restart the server",
        hostnames.join(", "),
        tls.certificate.parent().unwrap_or(Path::new(".")).display()
    );
    Ok(())
}

fn beside(file: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
