//! `vigosrv init`: a directory that a server can start from.

use crate::clock::Clock;
use crate::config::Config;
use crate::files::{self, FileError, create_private_dir, write_new};
use crate::pki::{Ca, Material, PkiError};
use crate::secrets::{Backend, new_identity};
use crate::store::{self, Database, StoreError, meta};
use ir::Hash;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// Where everything is.
    pub config: Config,
    /// The configuration file.
    pub config_file: PathBuf,
    /// What agents recognise the CA by.
    pub ca_hash: Hash,
}

/// Why nothing, or not everything, was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is something already.
    #[error("{} exists already: a server was set up here, and nothing was changed", .0.display())]
    Exists(PathBuf),
    /// There is another cluster's data.
    #[error(
        "the database {0} belongs to another cluster; make a new one, or copy that cluster's directory for a further server"
    )]
    Used(Database),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes directories, a CA, certificates, an empty database and the configuration. Overwrites nothing. The
/// database is a SQLite file in the directory, unless another one is given: a PostgreSQL database that is there.
pub fn init(
    dir: &Path,
    hostnames: &[String],
    database: Option<Database>,
    clock: &Clock,
) -> Result<Made, InitError> {
    let cluster_id = Uuid::new_v4().to_string();
    let secrets = Backend::Age { dir: dir.join("secrets"), identity_file: dir.join("secrets.key") };
    let mut config = Config { secrets, ..Config::in_dir(dir, &cluster_id) };
    if let Some(database) = database {
        config.database = database;
    }
    let config_file = dir.join("server.yaml");
    let tls = &config.tls;
    for path in [&config_file, &tls.ca, &tls.ca_key].into_iter().chain(config.database.file()) {
        if path.exists() {
            return Err(InitError::Exists(path.clone()));
        }
    }
    // Before anything is written: it may lie elsewhere, and be out of reach.
    if config.database.file().is_none() {
        drop(store::open(&config.database, true)?);
    }
    let material = Material::create(&cluster_id, hostnames, clock.now())?;
    let ca_hash = Ca::load(&material.ca, &material.ca_key)?.hash;

    create_private_dir(dir)?;
    create_private_dir(&dir.join("tls"))?;
    create_private_dir(&config.policy_dir)?;
    write_new(&tls.ca, 0o644, material.ca.as_bytes())?;
    write_new(&tls.ca_key, 0o600, material.ca_key.as_bytes())?;
    write_new(&tls.certificate, 0o644, material.server_chain.as_bytes())?;
    write_new(&tls.key, 0o600, material.server_key.as_bytes())?;
    write_new(&tls.signer, 0o644, material.signer.as_bytes())?;
    write_new(&tls.signer_key, 0o600, material.signer_key.as_bytes())?;
    if let Backend::Age { dir, identity_file } = &config.secrets {
        create_private_dir(dir)?;
        write_new(identity_file, 0o600, new_identity().0.as_bytes())?;
    }
    let mut conn = store::open(&config.database, true)?;
    let stored = meta::cluster(&mut conn, &cluster_id)?;
    drop(conn);
    if stored != cluster_id {
        return Err(InitError::Used(config.database.clone()));
    }
    // Last: with it, the directory is complete.
    write_new(&config_file, 0o600, text(&cluster_id, &config.database).as_bytes())?;
    Ok(Made { config, config_file, ca_hash })
}

fn text(cluster_id: &str, database: &Database) -> String {
    let url = match database {
        Database::Sqlite(_) => "sqlite:vigo.db",
        Database::Postgres(postgres) => &postgres.url,
    };
    format!(
        "# Configuration of vigosrv. Relative paths start at this file; `vigosrv check-config` checks it.
cluster:
  id: {cluster_id}      # stands in the certificates too

listen:
  grpc: 0.0.0.0:1530       # agents
  http: 0.0.0.0:8443       # the REST API, the dashboard, metrics; or `none`

policy:
  dir: policy
  watch: true              # publish what lies there when it changes; false: `vigocli publish` and SIGHUP alone

database:
  url: {url}

checkin:
  interval: 5m
  jitter_percent: 20
  bundle_max_age: 24h      # how long an envoy converges without the server; 0 is for ever

secrets:
  backend: age             # files that `vigosrv secrets set` encrypts; docs/server.md has the others
  dir: secrets
  identity_file: secrets.key

runs:
  keep: 30d
"
    )
}

/// The names a server certificate is for when nobody says: the host's own and the local ones.
pub fn default_hostnames() -> Vec<String> {
    let own = files::read_text(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let own = crate::hostname::normalise(own.trim());
    let mut names: Vec<String> = own.into_iter().collect();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_init_writes_is_a_configuration_and_it_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("srv");
        let made = init(&dir, &default_hostnames(), None, &Clock::system()).unwrap();
        assert_eq!(Config::load(&made.config_file).unwrap(), made.config);
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&made.config.policy_dir)), (0o700, 0o700));
        let tls = &made.config.tls;
        for key in [&tls.ca_key, &tls.key, &tls.signer_key, made.config.database.file().unwrap()] {
            assert_eq!(mode(key), 0o600, "{}", key.display());
        }
        let before = std::fs::read(&tls.ca_key).unwrap();
        assert!(matches!(init(&dir, &[], None, &Clock::system()), Err(InitError::Exists(_))));
        assert_eq!(std::fs::read(&tls.ca_key).unwrap(), before);
    }
}
