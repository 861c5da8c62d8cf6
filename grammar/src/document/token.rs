//! What the layout hands to the grammar.

use super::{Key, Node};

/// Indentation made explicit. The first number of a token is where it starts, for those whose start matters to the tree,
/// or else where it ends.
#[derive(Clone, Debug)]
pub(super) enum Tok {
    /// A block mapping begins.
    Map,
    /// A block sequence begins, with its start.
    Seq(u32),
    /// The innermost block ends.
    Close,
    /// A `-`, with its end.
    Dash(u32),
    /// A block key, with the end of its `:`.
    Key((Key, u32)),
    /// A scalar, or an error node in the place of a value.
    Value(Node),
    OpenSeq(u32),
    OpenMap(u32),
    CloseSeq(u32),
    CloseMap(u32),
    /// A `:` in brackets, with its end.
    Colon(u32),
    Comma,
}

/// A token with its place, as LALRPOP wants it. The layout has no errors of its own to hand over: an `Err` would end the
/// parse on the spot.
pub(super) type Placed = Result<(u32, Tok, u32), ()>;
