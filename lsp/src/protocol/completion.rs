//! `textDocument/completion` and `completionItem/resolve`.

use super::capabilities::Can;
use super::convert::{Page, markdown, range, span};
use crate::ide::completion::{Item, ItemKind, complete, documentation};
use crate::workspace::View;
use grammar::Span;
use serde_json::json;
use tower_lsp_server::ls_types::*;

/// More than this helps nobody: typing on narrows it down.
const MOST: usize = 200;

/// What could be typed.
pub fn completion(view: &View<'_>, can: &Can, params: &CompletionParams) -> Option<CompletionResponse> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let at = lines.offset(params.text_document_position.position);
    let mut found = complete(&view.ide(), &page.source, at);
    let replace = range(&lines, found.replace.unwrap_or(Span::new(at, at)));
    let typed =
        found.replace.map(|s| page.source.slice(s)).unwrap_or_default().trim_start_matches(['"', '\'']);
    if found.items.len() > MOST {
        found.items.retain(|i| i.label.contains(typed));
    }
    found.items.sort_by(|a, b| (a.order, &a.label).cmp(&(b.order, &b.label)));
    let is_incomplete = found.items.len() > MOST;
    found.items.truncate(MOST);
    let context = context(&page, span(&lines, replace).start);
    let item = |i: Item| convert(i, replace, &context, params, can);
    let items = found.items.into_iter().map(item).collect();
    Some(CompletionResponse::List(CompletionList { is_incomplete, items }))
}

/// What an item is looked up by, apart from its label: a type, a path of traits, or the language.
fn context(page: &Page, start: u32) -> (String, String) {
    let head = page.source.text.get(..start as usize).unwrap_or_default();
    let line = head.rsplit('\n').next().unwrap_or_default();
    let path = line
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
        .next()
        .unwrap_or_default();
    let path = path.trim_start_matches('.').trim_end_matches('.');
    let path =
        path.split_once('.').filter(|(root, _)| root.eq_ignore_ascii_case("traits")).map_or("", |(_, p)| p);
    let kind = head
        .rmatch_indices("type: ")
        .next()
        .and_then(|(at, _)| head.get(at + 6..)?.split_whitespace().next());
    (path.to_owned(), kind.unwrap_or_default().trim_matches(['"', '\'', ',']).to_owned())
}

fn convert(
    i: Item,
    replace: Range,
    (path, kind): &(String, String),
    params: &CompletionParams,
    can: &Can,
) -> CompletionItem {
    let snippet = i.snippet && can.snippets();
    let new_text = if i.snippet && !snippet { plain(&i.insert) } else { i.insert };
    let context = match i.kind {
        ItemKind::Attribute => kind.clone(),
        ItemKind::Trait => path.clone(),
        _ => String::new(),
    };
    let uri = &params.text_document_position.text_document.uri;
    let looked_up = matches!(
        i.kind,
        ItemKind::Variable
            | ItemKind::Module
            | ItemKind::Type
            | ItemKind::Attribute
            | ItemKind::Function
            | ItemKind::Trait
    );
    CompletionItem {
        kind: Some(icon(i.kind)),
        detail: (!i.detail.is_empty()).then(|| i.detail.clone()),
        label_details: None,
        sort_text: Some(format!("{}{}", i.order, i.label)),
        // what is replaced may begin with a quote
        filter_text: Some(new_text.split(['\n', ':']).next().unwrap_or_default().to_owned())
            .filter(|t| t.starts_with(['"', '\''])),
        insert_text_format: snippet.then_some(InsertTextFormat::SNIPPET),
        text_edit: Some(CompletionTextEdit::Edit(TextEdit { range: replace, new_text })),
        command: (i.again && can.is_vscode()).then(|| Command {
            title: "more".into(),
            command: "editor.action.triggerSuggest".into(),
            arguments: None,
        }),
        data: looked_up.then(|| json!({ "uri": uri.as_str(), "kind": name(i.kind), "context": context })),
        label: i.label,
        ..CompletionItem::default()
    }
}

/// A snippet without its places.
fn plain(snippet: &str) -> String {
    let mut out = String::new();
    let mut rest = snippet;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find('}').unwrap_or(inner.len());
            let place = inner.get(..end).unwrap_or_default();
            let default = place.split_once(':').map(|(_, d)| d).or_else(|| place.split(['|', ',']).nth(1));
            out.push_str(default.unwrap_or_default());
            rest = inner.get(end + 1..).unwrap_or_default();
        } else {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        }
    }
    out + rest
}

fn icon(kind: ItemKind) -> CompletionItemKind {
    match kind {
        ItemKind::Key => CompletionItemKind::KEYWORD,
        ItemKind::Attribute => CompletionItemKind::FIELD,
        ItemKind::Type => CompletionItemKind::CLASS,
        ItemKind::Value => CompletionItemKind::ENUM_MEMBER,
        ItemKind::Variable => CompletionItemKind::VARIABLE,
        ItemKind::Trait => CompletionItemKind::PROPERTY,
        ItemKind::Function => CompletionItemKind::FUNCTION,
        ItemKind::Word => CompletionItemKind::KEYWORD,
        ItemKind::Module => CompletionItemKind::MODULE,
        ItemKind::Role => CompletionItemKind::INTERFACE,
        ItemKind::Resource => CompletionItemKind::REFERENCE,
        ItemKind::File => CompletionItemKind::FILE,
        ItemKind::Host => CompletionItemKind::VALUE,
    }
}

const NAMES: [(ItemKind, &str); 6] = [
    (ItemKind::Variable, "variable"),
    (ItemKind::Module, "module"),
    (ItemKind::Type, "type"),
    (ItemKind::Attribute, "attribute"),
    (ItemKind::Function, "function"),
    (ItemKind::Trait, "trait"),
];

fn name(kind: ItemKind) -> &'static str {
    NAMES.iter().find(|(k, _)| *k == kind).map_or("", |(_, n)| n)
}

/// The address in the data of an item.
pub fn uri_of(item: &CompletionItem) -> Option<Uri> {
    item.data.as_ref()?.get("uri")?.as_str()?.parse().ok()
}

/// The documentation of an item.
pub fn resolve(view: &View<'_>, item: &CompletionItem) -> Option<Documentation> {
    let data = item.data.as_ref()?;
    let wanted = data.get("kind")?.as_str()?;
    let (kind, _) = NAMES.iter().find(|(_, n)| *n == wanted)?;
    let context = data.get("context").and_then(|c| c.as_str()).unwrap_or_default();
    let label = item.label.trim_start_matches("{{ .Vars.").trim_end_matches(" }}");
    let text = documentation(&view.ide(), *kind, label, context)?;
    Some(Documentation::MarkupContent(markdown(text)))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_snippet_without_places_is_text() {
        assert_eq!(plain("a: ${1|true,false|}\nb: \"${2:0644}\"$0\nc: $3"), "a: true\nb: \"0644\"\nc: ");
    }
}
