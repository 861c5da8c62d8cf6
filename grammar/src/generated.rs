//! What LALRPOP makes of a `.lalrpop` file, as the module `grammar` of the place that asks for it.

macro_rules! generated_grammar {
    ($path:literal) => {
        lalrpop_util::lalrpop_mod!(
            #[allow(
                clippy::all,
                clippy::allow_attributes_without_reason,
                clippy::unwrap_used,
                clippy::expect_used,
                clippy::panic,
                unused,
                missing_docs,
                reason = "generated"
            )]
            grammar,
            $path
        );
    };
}
