//! Prints the tree and the errors of what is read from the standard input: `dump [document|when|template]`.

use std::io::Read as _;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let errors = match std::env::args().nth(1).as_deref() {
        Some("when") => {
            let (tree, errors) = grammar::when::parse(text.trim_end());
            println!("{tree:#?}");
            errors
        }
        Some("template") => {
            let (tree, errors) = grammar::template::parse(&text);
            println!("{tree:#?}");
            errors
        }
        _ => {
            let parsed = grammar::document::parse(&text);
            println!("{:#?}", parsed.root);
            parsed.errors
        }
    };
    for error in errors {
        println!("{error:?}");
    }
    Ok(())
}
