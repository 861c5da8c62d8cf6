//! `vigoc inspect`: what stands in a blob, in the bundle of an envoy, in a whole build, or in a signed envelope.

mod envelope;

use super::bundle::{Bundle, Index, wrong};
use super::failure::{Exit, Failure};
use super::output;
use super::residual::Shown;
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
    /// A blob, the bundle of an envoy, the directory that `vigoc build` wrote, or a signed manifest or lease.
    path: PathBuf,
    /// The public key that should have signed the manifest or lease: a file with it in PEM, or with its 64
    /// hexadecimal digits.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  vigoc inspect build                                     all of it
  vigoc inspect build/envoys/web-01.example.com.json      one envoy, with its modules
  vigoc inspect build/blobs/1f3a...                       one module
  vigoc inspect manifest.bin                              a signed manifest or lease: what it claims
  vigoc inspect manifest.bin --key signer.pem             and whether this key signed it

Every blob is compared with the hash that it is stored under. Secrets are named, never shown.

Exit codes: 0 printed, 1 the key did not sign it, 64 wrong usage, 65 it is none of these.";

/// Bytes of all blobs that are read at a time.
const MAX_BYTES: usize = 1 << 30;

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let path = &args.path;
    let key = args.key.as_deref().map(envelope::key).transpose()?;
    let mut blobs = Blobs::default();
    let fields = if path.is_dir() {
        match path.join("bundle.json") {
            single if single.is_file() => bundle_with_modules(&single, path, &mut blobs)?,
            _ => build(path, &mut blobs)?,
        }
    } else if path.extension().is_some_and(|e| e == "json") {
        let folder = path.parent().map(|d| if d == Path::new("") { Path::new(".") } else { d });
        // beside the blobs, or in `envoys` beside them
        let folder = match folder {
            Some(dir) if dir.join("blobs").is_dir() => dir.to_owned(),
            Some(dir) => dir.join(".."),
            None => return Err(wrong(path, "there is no `blobs` directory near it")),
        };
        bundle_with_modules(path, &folder, &mut blobs)?
    } else {
        let bytes = read(path)?;
        if bytes.starts_with(ir::signing::MAGIC) {
            let (fields, exit) = envelope::fields(path, &bytes, key.as_ref())?;
            output::document("inspect", fields)?;
            return Ok(exit);
        }
        let hash = Hash::of(&bytes);
        named_by_hash(path, hash)?;
        let mut out = json!({ "kind": "module", "hash": hash.to_string(), "size": bytes.len() });
        extend(&mut out, module(path, &bytes)?);
        out
    };
    if key.is_some() {
        return Err(Failure::Usage("--key is for a signed manifest or lease; this is not signed".into()));
    }
    output::document("inspect", fields)?;
    Ok(Exit::Done)
}

/// Adds the fields of one object to another.
fn extend(out: &mut Json, fields: Json) {
    if let (Json::Object(out), Json::Object(fields)) = (out, fields) {
        out.extend(fields);
    }
}

/// The bytes of a blob or an envelope, which are few.
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
    let module = ir::wire::decode_module(bytes).map_err(|e| {
        wrong(path, format!("it is neither a module of a build nor a signed manifest or lease ({e})"))
    })?;
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
    let resources = module.resources.iter().map(|r| {
        let names = |targets: &[Target]| targets.iter().map(full).collect::<Vec<_>>();
        let (depends_on, notify) = (names(&r.depends_on), names(&r.notify));
        Shown {
            name: &r.name,
            kind: &r.kind,
            when: r.when.as_ref(),
            attributes: &r.attributes,
            depends_on: depends_on.iter().map(String::as_str).collect(),
            notify: notify.iter().map(String::as_str).collect(),
        }
        .json()
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

/// The bundle of an envoy, whose blobs were read.
fn bundle(path: &Path, folder: &Path, blobs: &mut Blobs) -> Result<Json, Failure> {
    let bundle = Bundle::read(path)?;
    for row in &bundle.modules {
        let content = blobs.get(folder, &row.hash)?;
        if content["name"].as_str() != Some(&row.name) {
            let name = row.name.escape_debug();
            return Err(wrong(path, format!("the blob of module `{name}` holds module {}", content["name"])));
        }
    }
    let mut out = serde_json::to_value(&bundle).map_err(|e| wrong(path, e))?;
    // the version is that of the answer
    if let Json::Object(fields) = &mut out {
        fields.shift_remove("format_version");
    }
    Ok(out)
}

/// The bundle of an envoy, with the modules in place of their hashes.
fn bundle_with_modules(path: &Path, folder: &Path, blobs: &mut Blobs) -> Result<Json, Failure> {
    let mut out = json!({ "kind": "bundle" });
    extend(&mut out, bundle(path, folder, blobs)?);
    for row in out.get_mut("modules").and_then(Json::as_array_mut).into_iter().flatten() {
        let content = row["hash"].as_str().and_then(|hash| blobs.known.get(hash)).cloned();
        extend(row, content.unwrap_or_default());
    }
    Ok(out)
}

/// Every envoy of a build.
fn build(dir: &Path, blobs: &mut Blobs) -> Result<Json, Failure> {
    let index = dir.join("index.json");
    if dir.join("store.redb").is_file() {
        return Err(wrong(
            dir,
            "it is the state of an agent; `vigo verify` and `vigo status` on the host read it",
        ));
    }
    if !index.is_file() {
        return Err(wrong(
            dir,
            "it holds neither index.json nor bundle.json, so `vigoc build` did not write it",
        ));
    }
    let rows = Index::read(&index)?.envoys;
    let mut envoys = Vec::with_capacity(rows.len());
    for row in rows {
        let inside = row.bundle.strip_prefix("envoys/").filter(|n| !n.contains('/') && !n.starts_with('.'));
        if inside.is_none() {
            return Err(wrong(
                &index,
                format!("`{}` is not the path of a bundle", row.bundle.escape_debug()),
            ));
        }
        envoys.push(bundle(&dir.join(&row.bundle), dir, blobs)?);
    }
    // what many share stands once
    let modules: Map<String, Json> = std::mem::take(&mut blobs.known).into_iter().collect();
    Ok(json!({ "kind": "build", "envoys": envoys, "modules": modules }))
}
