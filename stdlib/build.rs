//! A file that is added to the library has to be embedded too; `include_dir` only notices changed ones.

fn main() {
    for folder in ["types", "traits", "functions"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
