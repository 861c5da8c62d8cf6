//! Prints the tree and the errors of a file, for a look at what the parser makes of it.

use std::io::Read as _;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let parsed = grammar::document::parse(&text);
    println!("{:#?}", parsed.root);
    for error in parsed.errors {
        println!("{error:?}");
    }
    Ok(())
}
