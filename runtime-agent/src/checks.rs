//! Things that were looked at, each good or not: what `vigo verify` and `vigo doctor` show.

use serde_json::json;
use std::fmt::Write;

#[derive(Clone, Debug)]
struct Check {
    what: &'static str,
    good: bool,
    text: String,
}

/// In the order they were looked at.
#[derive(Clone, Debug, Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    /// Adds one: what is so, or what is wrong and what to do.
    pub fn add<E: ToString>(&mut self, what: &'static str, result: Result<String, E>) {
        let (good, text) = match result {
            Ok(text) => (true, text),
            Err(error) => (false, error.to_string()),
        };
        self.0.push(Check { what, good, text });
    }

    /// Adds others behind these.
    pub fn extend(&mut self, others: Checks) {
        self.0.extend(others.0);
    }

    /// Whether everything is good.
    pub fn is_good(&self) -> bool {
        self.0.iter().all(|c| c.good)
    }

    /// For people.
    pub fn human(&self) -> String {
        self.0.iter().fold(String::new(), |mut out, c| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{:<13}{:<5}{}", c.what, if c.good { "ok" } else { "BAD" }, c.text);
            out
        })
    }

    /// For programs.
    pub fn json(&self, command: &str) -> serde_json::Value {
        json!({
            "format_version": "1.0",
            "command": command,
            "tool_version": env!("CARGO_PKG_VERSION"),
            "good": self.is_good(),
            "checks": self.0.iter().map(|c| json!({"check": c.what, "good": c.good, "text": c.text})).collect::<Vec<_>>(),
        })
    }
}
