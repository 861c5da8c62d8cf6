//! The documents of a build: what `vigoc build` writes for a host and for all of them, and `vigoc inspect` reads.

use super::failure::Failure;
use super::{input, output};
use ir::{Hash, merkle};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `envoys/HOST.json`, or `bundle.json` where there is only one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bundle {
    /// [`output::FORMAT_VERSION`] of the vigoc that wrote it.
    pub(super) format_version: String,
    /// The host.
    pub(super) envoy: String,
    pub(super) environment: Option<String>,
    pub(super) roles: Vec<String>,
    /// Names of modules.
    pub(super) run_order: Vec<String>,
    /// Sorted by name.
    pub(super) modules: Vec<Row>,
    /// Over the merged variables, which are not in the build.
    pub(super) vars_hash: String,
    /// Over variables and modules.
    pub(super) merkle_root: String,
    /// Paths of the secrets that the modules read.
    pub(super) secrets: Vec<String>,
}

/// A module of a bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// The name of its blob.
    pub(super) hash: String,
    /// Bytes.
    pub(super) size: u64,
}

/// `index.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) format_version: String,
    pub(super) envoys: Vec<IndexRow>,
}

/// A host of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IndexRow {
    pub(super) envoy: String,
    /// Path of its bundle, from the directory of the build.
    pub(super) bundle: String,
}

impl Bundle {
    /// Reads a bundle whose rows add up to its root.
    pub(super) fn read(path: &Path) -> Result<Bundle, Failure> {
        let bundle: Bundle = document(path, "the bundle of an envoy")?;
        let hash = |text: &str| {
            Hash::from_hex(text).ok_or_else(|| wrong(path, format!("`{}` is no hash", text.escape_debug())))
        };
        let mut rows = Vec::with_capacity(bundle.modules.len());
        for row in &bundle.modules {
            rows.push((row.name.as_str(), hash(&row.hash)?));
        }
        if merkle::bundle_root(hash(&bundle.vars_hash)?, rows) != hash(&bundle.merkle_root)? {
            return Err(wrong(path, "its modules and variables do not add up to its merkle_root"));
        }
        Ok(bundle)
    }
}

impl Index {
    pub(super) fn read(path: &Path) -> Result<Index, Failure> {
        document(path, "the index of a build")
    }
}

/// Something is not what `vigoc build` writes.
pub(super) fn wrong(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Input(format!("`{}`: {why}", path.display()))
}

/// A JSON document of a version that is known; keys that are not are left alone.
fn document<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T, Failure> {
    let json = input::json(path)?;
    match json.get("format_version").map(serde_json::Value::as_str) {
        Some(Some(version)) if version.split('.').next() == output::FORMAT_VERSION.split('.').next() => {}
        Some(Some(version)) => {
            let version = version.escape_debug();
            return Err(wrong(
                path,
                format!("it has format version `{version}`, which this vigoc does not know"),
            ));
        }
        _ => return Err(wrong(path, "it has no `format_version`, so `vigoc build` did not write it")),
    }
    serde_json::from_value(json).map_err(|e| wrong(path, format!("it is not {what}: {e}")))
}
