//! `vigo-lsp`: the language server of Vigo, on standard input and output.

#[tokio::main(flavor = "current_thread")]
async fn main() {
    lsp::serve(tokio::io::stdin(), tokio::io::stdout()).await;
}
