//! What the user sets: the section `vigo` of the configuration, or the initialisation options.

use compiler::resolve::glob::normal;
use serde_json::Value as Json;

/// The settings of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The host whose values are shown, lower case.
    pub envoy: Option<String>,
    /// The fleet file, relative to the policy; without it `fleet.jsonl` or `fleet.json` of the policy counts.
    pub fleet: Option<String>,
    /// Whether values and types are shown between the words.
    pub inlay_hints: bool,
    /// Whether lines above declarations are shown.
    pub code_lens: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { envoy: None, fleet: None, inlay_hints: true, code_lens: true }
    }
}

impl Settings {
    /// Takes over what a section says; what it does not say stays. The section may be wrapped in `vigo`, and its keys may
    /// be dotted, as editors have it.
    pub fn take(&mut self, json: &Json) {
        let section = json.get("vigo").unwrap_or(json);
        let text = |key: &str| match section.get(key) {
            Some(Json::String(text)) if !text.trim().is_empty() => Some(Some(text.trim().to_owned())),
            Some(Json::String(_) | Json::Null) => Some(None),
            _ => None,
        };
        let flag = |key: &str| {
            let nested = section.get(key).and_then(|o| o.get("enabled"));
            nested.or_else(|| section.get(format!("{key}.enabled"))).and_then(Json::as_bool)
        };
        if let Some(envoy) = text("envoy") {
            self.envoy = envoy.map(|name| normal(&name));
        }
        if let Some(fleet) = text("fleet") {
            self.fleet = fleet;
        }
        self.inlay_hints = flag("inlayHints").unwrap_or(self.inlay_hints);
        self.code_lens = flag("codeLens").unwrap_or(self.code_lens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sections_are_read_in_every_form() {
        let mut settings = Settings::default();
        settings.take(&json!({"vigo": {"envoy": " Web-1.test. ", "inlayHints": {"enabled": false}}}));
        assert_eq!(settings.envoy.as_deref(), Some("web-1.test"));
        assert!(!settings.inlay_hints && settings.code_lens);
        settings.take(&json!({"codeLens.enabled": false, "envoy": ""}));
        assert_eq!((settings.envoy, settings.code_lens), (None, false));
        for odd in [json!(null), json!(3), json!({"vigo": []}), json!({"envoy": 3, "fleet": {}})] {
            let mut settings = Settings::default();
            settings.take(&odd);
            assert_eq!(settings, Settings::default(), "{odd}");
        }
    }
}
