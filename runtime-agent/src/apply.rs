//! A bundle in files: what `vigoc build` writes for one envoy, converged to without a server.

use crate::text::printable;
use ir::{Hash, Module, merkle};
use std::path::{Path, PathBuf};

/// Why a bundle directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleDirError {
    /// Not readable.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not what `vigoc build` writes.
    #[error("{path}: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Several envoys, or another one.
    #[error("{path} holds {}; name one with --envoy", if have.is_empty() { "no bundle".to_owned() } else { format!("bundles for {}", have.join(", ")) })]
    WhichEnvoy {
        /// The directory.
        path: PathBuf,
        /// The envoys there are.
        have: Vec<String>,
    },
}

#[derive(serde::Deserialize)]
struct Index {
    envoys: Vec<IndexRow>,
}

#[derive(serde::Deserialize)]
struct IndexRow {
    envoy: String,
    bundle: String,
}

#[derive(serde::Deserialize)]
struct BundleFile {
    format_version: String,
    envoy: String,
    run_order: Vec<String>,
    modules: Vec<ModuleRow>,
    vars_hash: String,
    merkle_root: String,
}

#[derive(serde::Deserialize)]
struct ModuleRow {
    name: String,
    hash: String,
    size: u64,
}

/// A bundle whose hashes and root were checked.
#[derive(Debug)]
pub struct FileBundle {
    /// Whom it is for.
    pub envoy: String,
    /// Over variables and modules.
    pub root: Hash,
    /// In the order they run.
    pub modules: Vec<Module>,
}

const MAX_JSON: u64 = 16 << 20;

/// Reads and checks. `envoy` chooses where there are several.
pub fn load(directory: &Path, envoy: Option<&str>) -> Result<FileBundle, BundleDirError> {
    let path = find(directory, envoy)?;
    let malformed = |why: String| BundleDirError::Malformed { path: path.clone(), why };
    let file: BundleFile = json(&path)?;
    if file.format_version.split('.').next() != Some("1") {
        return Err(malformed(format!(
            "format_version {} is not known to this agent",
            printable(&file.format_version)
        )));
    }
    if let Some(wanted) = envoy.filter(|wanted| !wanted.eq_ignore_ascii_case(&file.envoy)) {
        return Err(malformed(format!("is for {}, not {}", printable(&file.envoy), printable(wanted))));
    }
    let hash = |text: &str| {
        Hash::from_hex(text).ok_or_else(|| malformed(format!("`{}` is not a hash", printable(text))))
    };
    let mut rows = Vec::new();
    for row in &file.modules {
        rows.push((row.name.as_str(), hash(&row.hash)?, row.size));
    }
    if !rows.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(malformed("modules are out of order or there twice".to_owned()));
    }
    let root = hash(&file.merkle_root)?;
    if merkle::bundle_root(hash(&file.vars_hash)?, rows.iter().map(|(name, hash, _)| (*name, *hash))) != root
    {
        return Err(malformed("the modules do not add up to merkle_root".to_owned()));
    }
    let mut order: Vec<&str> = file.run_order.iter().map(String::as_str).collect();
    order.sort_unstable();
    if order != rows.iter().map(|(name, ..)| *name).collect::<Vec<_>>() {
        return Err(malformed("run_order does not name each module once".to_owned()));
    }
    let mut modules = Vec::new();
    for name in &file.run_order {
        let Some((_, hash, size)) = rows.iter().find(|(n, ..)| n == name) else { continue };
        modules.push(module(directory, name, *hash, *size)?);
    }
    Ok(FileBundle { envoy: file.envoy, root, modules })
}

fn find(directory: &Path, envoy: Option<&str>) -> Result<PathBuf, BundleDirError> {
    let single = directory.join("bundle.json");
    if single.exists() {
        return Ok(single);
    }
    if let Some(name) = envoy {
        let beside = directory.join(format!("{}.json", name.to_lowercase().replace('/', "_")));
        if beside.exists() {
            return Ok(beside);
        }
    }
    let path = directory.join("index.json");
    let index: Index = json(&path)?;
    let mut chosen =
        index.envoys.iter().filter(|row| envoy.is_none_or(|e| e.eq_ignore_ascii_case(&row.envoy)));
    match (chosen.next(), chosen.next()) {
        (Some(row), None) => {
            let below = Path::new(&row.bundle);
            if below.components().any(|c| !matches!(c, std::path::Component::Normal(_))) {
                return Err(BundleDirError::Malformed {
                    path,
                    why: "a bundle's path leads out of it".to_owned(),
                });
            }
            Ok(directory.join(below))
        }
        _ => Err(BundleDirError::WhichEnvoy {
            path: directory.to_owned(),
            have: index.envoys.iter().take(20).map(|row| printable(&row.envoy)).collect(),
        }),
    }
}

fn module(directory: &Path, name: &str, hash: Hash, size: u64) -> Result<Module, BundleDirError> {
    let path = directory.join("blobs").join(hash.to_string());
    let malformed = |why: String| BundleDirError::Malformed { path: path.clone(), why };
    let bytes = read(&path, ir::wire::MAX_MODULE_BYTES as u64)?;
    if bytes.len() as u64 != size || Hash::of(&bytes) != hash {
        return Err(malformed(format!(
            "the bytes of module `{}` are not those it was hashed from",
            printable(name)
        )));
    }
    let module = ir::wire::decode_module(&bytes).map_err(|e| malformed(e.to_string()))?;
    if *module.name != *name {
        return Err(malformed(format!(
            "calls itself `{}`, not `{}`",
            printable(&module.name),
            printable(name)
        )));
    }
    Ok(module)
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, BundleDirError> {
    serde_json::from_slice(&read(path, MAX_JSON)?)
        .map_err(|e| BundleDirError::Malformed { path: path.to_owned(), why: e.to_string() })
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, BundleDirError> {
    use std::io::Read;
    let fail = |source| BundleDirError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(BundleDirError::Malformed {
            path: path.to_owned(),
            why: format!("has more than {limit} bytes"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Writes what `vigoc build` writes for one envoy.
    pub fn write(directory: &Path, modules: &[Module]) {
        std::fs::create_dir_all(directory.join("blobs")).unwrap();
        let vars = Hash::of(b"vars");
        let mut rows: Vec<(String, Hash, usize)> = modules
            .iter()
            .map(|m| {
                let bytes = ir::wire::encode_module(m).unwrap();
                let hash = Hash::of(&bytes);
                std::fs::write(directory.join("blobs").join(hash.to_string()), &bytes).unwrap();
                (m.name.to_string(), hash, bytes.len())
            })
            .collect();
        rows.sort();
        let root = merkle::bundle_root(vars, rows.iter().map(|(n, h, _)| (n.as_str(), *h)));
        let json = serde_json::json!({
            "format_version": "1.0",
            "envoy": "web-1.test",
            "run_order": modules.iter().map(|m| m.name.to_string()).collect::<Vec<_>>(),
            "modules": rows.iter().map(|(n, h, s)| serde_json::json!({"name": n, "hash": h.to_string(), "size": s})).collect::<Vec<_>>(),
            "vars_hash": vars.to_string(),
            "merkle_root": root.to_string(),
        });
        std::fs::write(directory.join("bundle.json"), json.to_string()).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> Module {
        Module { name: name.into(), depends_on: vec![], resources: vec![] }
    }

    #[test]
    fn a_bundle_is_checked_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        testing::write(dir.path(), &[module("web"), module("base")]);
        let bundle = load(dir.path(), None).unwrap();
        assert_eq!(bundle.modules.iter().map(|m| &*m.name).collect::<Vec<_>>(), ["web", "base"]);
        assert!(load(dir.path(), Some("WEB-1.test")).is_ok());
        assert!(load(dir.path(), Some("db-1.test")).unwrap_err().to_string().contains("is for web-1.test"));

        let text = std::fs::read_to_string(dir.path().join("bundle.json")).unwrap();
        let with = |from: &str, to: &str| {
            std::fs::write(dir.path().join("bundle.json"), text.replace(from, to)).unwrap();
            load(dir.path(), None).unwrap_err().to_string()
        };
        assert!(with("\"1.0\"", "\"2.0\"").contains("format_version"));
        assert!(with(&bundle.root.to_string(), &Hash::of(b"x").to_string()).contains("do not add up"));
        std::fs::write(dir.path().join("bundle.json"), &text).unwrap();
        for blob in std::fs::read_dir(dir.path().join("blobs")).unwrap() {
            std::fs::write(blob.unwrap().path(), "rot").unwrap();
        }
        assert!(load(dir.path(), None).unwrap_err().to_string().contains("not those it was hashed from"));
    }

    #[test]
    fn an_index_names_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path(), None), Err(BundleDirError::Read { .. })));
        testing::write(dir.path(), &[module("base")]);
        std::fs::create_dir(dir.path().join("envoys")).unwrap();
        std::fs::rename(dir.path().join("bundle.json"), dir.path().join("envoys/web-1.test.json")).unwrap();
        let index = |rows: &str| {
            std::fs::write(dir.path().join("index.json"), format!("{{\"envoys\":[{rows}]}}")).unwrap()
        };
        let row = "{\"envoy\":\"web-1.test\",\"bundle\":\"envoys/web-1.test.json\"}";
        index(row);
        assert!(load(dir.path(), None).is_ok());
        index(&format!("{row},{{\"envoy\":\"b\",\"bundle\":\"../b.json\"}}"));
        assert!(load(dir.path(), Some("web-1.test")).is_ok());
        assert!(matches!(load(dir.path(), None), Err(BundleDirError::WhichEnvoy { .. })));
        assert!(load(dir.path(), Some("b")).unwrap_err().to_string().contains("leads out"));
    }
}
