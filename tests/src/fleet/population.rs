//! The envoys of a simulated fleet: who they are, made from their number alone, and their rows in the server's
//! database.
//!
//! Enrolling a hundred thousand hosts one by one would measure enrolment. Their rows are written straight into the
//! database of a server that is not running; everything after that is the protocol.

use super::envoy::{Cluster, Identity};
use crate::processes::Server;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ir::{Hash, Value, wire};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use runtime_server::clock::Clock;
use runtime_server::config::Config;
use runtime_server::pki::{self, Ca, Csr};
use runtime_server::store::value::ToParam;
use runtime_server::store::{self, Database};
use rustls_pki_types::CertificateDer;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Longer than any simulation.
const LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Anything that keeps a simulation from being set up; for people.
pub type Problem = Box<dyn Error + Send + Sync>;

/// A fleet by its numbers; see the module.
pub struct Population {
    /// What its envoys share.
    pub cluster: Arc<Cluster>,
    ca: Ca,
    database: Database,
    entries: usize,
    /// Traits of the usual distributions, without what is a host's own.
    kinds: Vec<Value>,
}

impl Population {
    /// For the policy of [`crate::generator`] with so many node entries, and a server that is set up.
    pub fn of(server: &Server, entries: usize) -> Result<Self, Problem> {
        let config = Config::load(&server.dir.join("server.yaml"))?;
        let ca_pem = std::fs::read_to_string(&config.tls.ca)?;
        let ca = Ca::load(&ca_pem, &std::fs::read_to_string(&config.tls.ca_key)?)?;
        let der = CertificateDer::from(ca.der.clone());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der.clone())?;
        let kinds = stdlib::fixtures()
            .map(|(_, json)| Ok(value(&serde_json::from_str(json)?)))
            .collect::<Result<Vec<_>, Problem>>()?;
        let cluster = Cluster {
            server: server.address.parse()?,
            cluster_id: config.cluster_id,
            ca: der,
            roots: roots.into(),
            blobs: Default::default(),
        };
        Ok(Population {
            cluster: cluster.into(),
            ca,
            database: config.database,
            entries: entries.max(1),
            kinds,
        })
    }

    /// The host's name; the number of its node entry stands in it.
    pub fn hostname(&self, number: usize) -> String {
        format!("h{:05}-{:07}.gen.test", number % self.entries, number / self.entries)
    }

    fn seed(number: usize, what: &str) -> [u8; 32] {
        Hash::of(format!("fleet-sim {what} {number}").as_bytes()).0
    }

    fn id(number: usize) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Self::seed(number, "id")[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// What the host says of itself: a distribution, and a few things that are its own.
    pub fn traits(&self, number: usize) -> Result<Vec<u8>, Problem> {
        // Not in step with the node entries, so that each has hosts of all kinds.
        let kind = self.kinds.get((number / self.entries) % self.kinds.len().max(1));
        let mut traits = match kind {
            Some(Value::Map(map)) => map.clone(),
            _ => Default::default(),
        };
        let name = self.hostname(number);
        let network = traits.entry("network".into()).or_insert_with(|| Value::Map(Default::default()));
        if let Value::Map(network) = network {
            network.insert("hostname".into(), name.split('.').next().unwrap_or_default().into());
            network.insert("fqdn".into(), name.as_str().into());
            let ip = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
            network.insert("ip".into(), ip.as_str().into());
        }
        Ok(wire::encode_value(&Value::Map(traits))?)
    }

    /// Writes the rows of the first `envoys`; as if each had checked in once when `seen`.
    pub fn register(&self, envoys: usize, seen: bool) -> Result<(), Problem> {
        let mut db = store::open(&self.database, false)?;
        let now = i64::try_from(Clock::system().now())?;
        // In the order of the table, which is written front to back then.
        let mut ids: Vec<(String, usize)> = (0..envoys).map(|number| (Self::id(number), number)).collect();
        ids.sort_unstable();
        for some in ids.chunks(20_000) {
            let mut rows = Vec::with_capacity(some.len());
            for (id, number) in some {
                let key = SigningKey::from_bytes(&Self::seed(*number, "key")).verifying_key().to_bytes();
                let traits = if seen { Some(self.traits(*number)?) } else { None };
                // Nothing is sealed for a simulated fleet.
                rows.push((id, self.hostname(*number), key, Self::seed(*number, "seal"), traits));
            }
            db.transaction(|db| {
                for (id, hostname, key, seal_key, traits) in &rows {
                    db.execute(
                        "insert into envoys (id, hostname, public_key, seal_key, enrolled_at, traits, last_seen)
                         values ($1, $2, $3, $4, $5, $6, $7)",
                        &[
                            id.to_param(),
                            hostname.to_param(),
                            key.to_param(),
                            seal_key.to_param(),
                            now.to_param(),
                            traits.to_param(),
                            seen.then_some(now).to_param(),
                        ],
                    )?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Everything that an enrolled host has, its certificate issued by the cluster's own CA.
    pub fn identity(&self, number: usize) -> Result<Identity, Problem> {
        let key = SigningKey::from_bytes(&Self::seed(number, "key"));
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(
            &key.to_pkcs8_pem(Default::default()).map_err(|e| e.to_string())?,
            &PKCS_ED25519,
        )?;
        let hostname = self.hostname(number);
        let request = CertificateParams::new(Vec::new())?.serialize_request(&pair)?.pem()?;
        let id = Self::id(number);
        let csr = Csr::read(&request, &hostname)?;
        let issued = self.ca.issue_client(&id, &csr, Clock::system().now(), LIFE)?;
        let certificate = pki::read_certificate("a client's certificate", &issued.pem)?;
        Ok(Identity { number, id, key, certificate, traits: self.traits(number)?.into() })
    }
}

fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => n.as_i64().map_or(Value::Null, Value::Int),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(k, v)| (k.as_str().into(), value(v))).collect()),
    }
}
