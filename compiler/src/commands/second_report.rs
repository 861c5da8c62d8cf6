//! `--report FORMAT:PATH`: where a second report goes, and in which format.

use crate::diagnostic::nearest::did_you_mean;
use clap::ValueEnum;
use std::path::PathBuf;

/// A report that is written to a file.
#[derive(Clone, Debug)]
pub(super) struct Target<F> {
    pub(super) format: F,
    pub(super) path: PathBuf,
}

/// Reads `FORMAT:PATH`.
pub(super) fn target<F: ValueEnum>(text: &str) -> Result<Target<F>, String> {
    let names: Vec<String> = F::value_variants()
        .iter()
        .filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned()))
        .collect();
    let (format, path) = text.split_once(':').ok_or("write it as FORMAT:PATH, such as junit:report.xml")?;
    let format = F::from_str(format, false).map_err(|_| {
        let near = did_you_mean(format, names.iter().map(String::as_str)).map(|m| format!(", {m}"));
        format!("`{format}` is no format{}; there are {}", near.unwrap_or_default(), names.join(", "))
    })?;
    match path {
        "" => Err("the path is empty".into()),
        path => Ok(Target { format, path: path.into() }),
    }
}
