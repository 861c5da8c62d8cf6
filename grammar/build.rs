//! Generates the three parsers from the `.lalrpop` files under `src/`.

fn main() {
    let generated = lalrpop::Configuration::new()
        .set_in_dir("src")
        .emit_rerun_directives(true)
        .never_use_colors()
        .process();
    if let Err(error) = generated {
        eprintln!("grammar: {error}");
        std::process::exit(1);
    }
}
