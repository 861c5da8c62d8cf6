//! What the operator of this host decides, whatever the server says: `/etc/vigo/agent.json`.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read whenever it matters, so that a change needs no restart.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether commands that the server orders are run. Convergence and queries are not affected.
    pub tasks: bool,
    /// Whether policy may change, stop or remove the agent itself; see [`crate::own`].
    pub manage_agent: bool,
    /// As whom the server is spoken to; see [`crate::speaker`]. Counts when the agent starts.
    pub network_user: String,
    /// What a resource may take in all, beside its own `timeout`; see [`crate::limit`].
    #[serde(deserialize_with = "duration")]
    pub resource_limit: Duration,
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(from)?;
    let read = crate::text::parse_duration(&text).filter(|limit| !limit.is_zero());
    read.ok_or_else(|| serde::de::Error::custom("a duration is written like `30m` or `2h`"))
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            tasks: true,
            manage_agent: false,
            network_user: crate::own::NETWORK_USER.to_owned(),
            resource_limit: crate::limit::DEFAULT,
        }
    }
}

/// Why the settings are not known. Whoever asks then does what is safe.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is there and cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path} is not understood: {why}; mend it or move it away: it looks like {{\"tasks\": false}}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Settings {
    /// Where they are, below a root.
    pub fn path(root: &Path) -> PathBuf {
        crate::own::below(root, crate::own::SETTINGS)
    }

    /// [`Settings::load`] for what has no unsafe side: settings that are not understood are the defaults, and the log says so.
    pub fn of(root: &Path) -> Self {
        Self::load(root).unwrap_or_else(|error| {
            tracing::warn!("{error}");
            Settings::default()
        })
    }

    /// Reads them; without a file they are the defaults.
    pub fn load(root: &Path) -> Result<Self, SettingsError> {
        let path = Self::path(root);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                let what = if e.is_data() { "" } else { "it is no JSON, " };
                SettingsError::Malformed {
                    path,
                    why: format!("{what}{}", crate::text::printable(&e.to_string())),
                }
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
            Err(cause) => Err(SettingsError::Unreadable { path, cause }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_understood_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let safe = Settings {
            tasks: true,
            manage_agent: false,
            network_user: "vigo".to_owned(),
            resource_limit: Duration::from_secs(3600),
        };
        assert_eq!(Settings::load(dir.path()).unwrap(), safe);
        let path = Settings::path(dir.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (text, expected) in [("{}", true), ("{\"tasks\": true}", true), ("{\"tasks\": false}", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Settings::load(dir.path()).unwrap().tasks, expected, "{text}");
        }
        std::fs::write(&path, "{\"resource_limit\": \"2h30m\"}").unwrap();
        assert_eq!(Settings::of(dir.path()).resource_limit, Duration::from_secs(9000));
        let limits = ["0s", "1 fortnight", ""].map(|text| format!("{{\"resource_limit\": \"{text}\"}}"));
        let others = ["", "{\"task\": false}", "{\"tasks\": 0}", "{\"resource_limit\": 5}", "\u{1b}"];
        for text in others.into_iter().chain(limits.iter().map(String::as_str)) {
            std::fs::write(&path, text).unwrap();
            let message = Settings::load(dir.path()).unwrap_err().to_string();
            assert!(message.contains("agent.json") && message.contains("{\"tasks\": false}"), "{message}");
            assert_eq!(message.contains("it is no JSON"), !text.starts_with('{'), "{message}");
            assert_eq!(Settings::of(dir.path()), safe, "{text}");
        }
    }
}
