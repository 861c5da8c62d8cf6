//! `textDocument/hover` and `textDocument/signatureHelp`.

use super::convert::{Page, markdown, range};
use crate::ide::{hover as about, signature};
use crate::workspace::View;
use tower_lsp_server::ls_types::*;

/// What is under the cursor.
pub fn hover(view: &View<'_>, params: &HoverParams) -> Option<Hover> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let at = lines.offset(params.text_document_position_params.position);
    let found = about::hover(&view.ide(), &page.source, at)?;
    Some(Hover {
        contents: HoverContents::Markup(markdown(found.text)),
        range: Some(range(&lines, found.span)),
    })
}

/// How the function around the cursor is called.
pub fn signature_help(view: &View<'_>, params: &SignatureHelpParams) -> Option<SignatureHelp> {
    let page = Page::of(view)?;
    let at = page.lines().offset(params.text_document_position_params.position);
    let s = signature::signature(&page.source, at)?;
    // the labels of functions are ASCII, so bytes are characters
    let parameter = |(from, to): &(u32, u32)| ParameterInformation {
        label: ParameterLabel::LabelOffsets([*from, *to]),
        documentation: None,
    };
    let information = SignatureInformation {
        parameters: Some(s.parameters.iter().map(parameter).collect()),
        label: s.label,
        documentation: Some(Documentation::MarkupContent(markdown(s.doc))),
        active_parameter: s.active,
    };
    Some(SignatureHelp {
        signatures: vec![information],
        active_signature: Some(0),
        active_parameter: s.active,
    })
}
