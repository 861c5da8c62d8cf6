//! `vigoc inspect`: what stands in a blob, in the bundle of an envoy or in a whole build.

use super::failure::{Exit, Failure};
use super::residual::{attribute_json, condition_json};
use super::{input, output};
use ir::{Hash, Module, Target};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A blob, the bundle of an envoy, or the directory that `vigoc build` wrote.
    path: PathBuf,
}

const EXAMPLES: &str = "Examples:
  vigoc inspect build                                     all of it
  vigoc inspect build/envoys/web-01.example.com.json      one envoy, with its modules
  vigoc inspect build/blobs/1f3a...                       one module

Every blob is compared with the hash that it is stored under. Secrets are named, never shown.

Exit codes: 0 printed, 64 wrong usage, 65 what is there is not what `vigoc build` writes.";

/// Bytes of all blobs that are read at a time.
const MAX_BYTES: usize = 1 << 30;

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let path = &args.path;
    let mut blobs = Blobs::default();
    let fields = if path.is_dir() {
        build(path, &mut blobs)?
    } else if path.extension().is_some_and(|e| e == "json") {
        let Some(folder) = path.parent().and_then(Path::parent) else {
            return Err(wrong(path, "there is no `blobs` directory near it"));
        };
        let mut out = json!({ "kind": "bundle" });
        extend(&mut out, bundle(path, folder, &mut blobs)?);
        out
    } else {
        let bytes = read(path)?;
        let hash = Hash::of(&bytes);
        named_by_hash(path, hash)?;
        let mut out = json!({ "kind": "module", "hash": hash.to_string(), "size": bytes.len() });
        extend(&mut out, module(path, &bytes)?);
        out
    };
    output::document("inspect", fields)?;
    Ok(Exit::Done)
}

/// Adds the fields of one object to another.
fn extend(out: &mut Json, fields: Json) {
    if let (Json::Object(out), Json::Object(fields)) = (out, fields) {
        out.extend(fields);
    }
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Input(format!("`{}`: {why}", path.display()))
}

/// The bytes of a blob, which are few.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let most = ir::wire::MAX_MODULE_BYTES as u64;
    let mut bytes = Vec::new();
    let file =
        fs::File::open(path).map_err(|e| Failure::Input(format!("cannot read `{}`: {e}", path.display())))?;
    if !file.metadata().is_ok_and(|m| m.is_file()) {
        return Err(wrong(path, "it is not a regular file"));
    }
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::Input(format!("cannot read `{}`: {e}", path.display())))?;
    if bytes.len() as u64 > most {
        return Err(wrong(path, "it is larger than a module may be (8 MiB)"));
    }
    Ok(bytes)
}

/// A name that is a hash promises the bytes.
fn named_by_hash(path: &Path, hash: Hash) -> Result<(), Failure> {
    let promised = path.file_name().and_then(|n| n.to_str()).and_then(Hash::from_hex);
    match promised {
        Some(promised) if promised != hash => {
            Err(wrong(path, format!("its bytes have another hash, {hash}")))
        }
        _ => Ok(()),
    }
}

fn module(path: &Path, bytes: &[u8]) -> Result<Json, Failure> {
    if bytes.starts_with(b"VIGO") {
        let why =
            "it is a signed envelope; `vigo verify` on the envoy reads those, here blobs and builds are";
        return Err(wrong(path, why));
    }
    let module = ir::wire::decode_module(bytes).map_err(|e| wrong(path, format!("it is no module: {e}")))?;
    Ok(module_json(&module))
}

fn module_json(module: &Module) -> Json {
    let full = |target: &Target| match target {
        Target::Local(at) => {
            let name = module.resources.get(*at as usize).map(|r| &*r.name).unwrap_or_default();
            format!("{}.{name}", module.name)
        }
        Target::Other { module, resource } => format!("{module}.{resource}"),
    };
    let names = |targets: &[Target]| targets.iter().map(full).collect::<Vec<_>>();
    let resources = module.resources.iter().map(|r| {
        let attributes: Map<String, Json> =
            r.attributes.iter().map(|(name, value)| (name.to_string(), attribute_json(value))).collect();
        json!({
            "name": &*r.name,
            "type": &*r.kind,
            "when": condition_json(r.when.as_ref()),
            "attributes": attributes,
            "depends_on": names(&r.depends_on),
            "notify": names(&r.notify),
        })
    });
    json!({
        "name": &*module.name,
        "depends_on": module.depends_on.iter().map(|m| &**m).collect::<Vec<_>>(),
        "resources": resources.collect::<Vec<_>>(),
    })
}

/// Blobs that were read and decoded, by hash.
#[derive(Default)]
struct Blobs {
    known: BTreeMap<String, Json>,
    bytes: usize,
}

impl Blobs {
    fn get(&mut self, folder: &Path, hash: &str) -> Result<&Json, Failure> {
        if !self.known.contains_key(hash) {
            // a name that is no hash could lead anywhere
            let promised =
                Hash::from_hex(hash).ok_or_else(|| wrong(folder, format!("`{hash}` is no hash")))?;
            let path = folder.join("blobs").join(hash);
            let bytes = read(&path)?;
            self.bytes += bytes.len();
            if self.bytes > MAX_BYTES {
                return Err(wrong(folder, "its blobs have more than 1 GiB"));
            }
            let found = Hash::of(&bytes);
            if found != promised {
                return Err(wrong(&path, format!("its bytes have another hash, {found}")));
            }
            let decoded = module(&path, &bytes)?;
            self.known.insert(hash.to_owned(), decoded);
        }
        self.known.get(hash).ok_or_else(|| wrong(folder, "a blob is gone"))
    }
}

/// The bundle of an envoy: its document, with the modules in place of their hashes.
fn bundle(path: &Path, folder: &Path, blobs: &mut Blobs) -> Result<Json, Failure> {
    let mut out = document(path)?;
    let Some(Json::Array(rows)) = out.get_mut("modules") else {
        return Err(wrong(path, "it has no `modules`, so it is not the bundle of an envoy"));
    };
    for row in rows {
        let text = |key: &str| row.get(key).and_then(Json::as_str).map(str::to_owned);
        let (Some(name), Some(hash)) = (text("name"), text("hash")) else {
            return Err(wrong(path, "a module in it has no `name` or no `hash`"));
        };
        let content = blobs.get(folder, &hash)?.clone();
        if content["name"].as_str() != Some(&name) {
            return Err(wrong(path, format!("the blob of module `{name}` holds module {}", content["name"])));
        }
        extend(row, content);
    }
    Ok(out)
}

/// A JSON object that `vigoc build` wrote; the version is that of the answer.
fn document(path: &Path) -> Result<Json, Failure> {
    let mut out = input::json(path)?;
    let Json::Object(fields) = &mut out else { return Err(wrong(path, "it is not a JSON object")) };
    match fields.remove("format_version").as_ref().and_then(Json::as_str) {
        Some(version) if version.split('.').next() == output::FORMAT_VERSION.split('.').next() => Ok(out),
        Some(version) => {
            Err(wrong(path, format!("it has format version `{version}`, which this vigoc does not know")))
        }
        None => Err(wrong(path, "it has no `format_version`, so `vigoc build` did not write it")),
    }
}

/// Every envoy of a build.
fn build(dir: &Path, blobs: &mut Blobs) -> Result<Json, Failure> {
    let index = dir.join("index.json");
    if !index.is_file() {
        return Err(wrong(dir, "it holds no index.json, so `vigoc build` did not write it"));
    }
    let document = document(&index)?;
    let Some(rows) = document.get("envoys").and_then(Json::as_array) else {
        return Err(wrong(&index, "it has no `envoys`"));
    };
    let mut envoys = Vec::with_capacity(rows.len());
    for row in rows {
        let file = row.get("bundle").and_then(Json::as_str).unwrap_or_default();
        let inside = file.strip_prefix("envoys/").filter(|n| !n.contains('/') && !n.starts_with('.'));
        if inside.is_none() {
            return Err(wrong(&index, format!("`{}` is not the path of a bundle", file.escape_debug())));
        }
        let mut bundle = bundle(&dir.join(file), dir, blobs)?;
        // what many share stands once, below
        for row in bundle.get_mut("modules").and_then(Json::as_array_mut).into_iter().flatten() {
            if let Json::Object(row) = row {
                row.retain(|key, _| matches!(key.as_str(), "name" | "hash" | "size"));
            }
        }
        envoys.push(bundle);
    }
    let modules: Map<String, Json> = std::mem::take(&mut blobs.known).into_iter().collect();
    Ok(json!({ "kind": "build", "envoys": envoys, "modules": modules }))
}
