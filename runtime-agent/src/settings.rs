//! What the operator of this host decides, whatever the server says: `/etc/vigo/agent.json`.

use std::path::{Path, PathBuf};

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
}

impl Default for Settings {
    fn default() -> Self {
        Settings { tasks: true, manage_agent: false, network_user: crate::own::NETWORK_USER.to_owned() }
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
    #[error("{path} is not understood: {why}; it looks like {{\"tasks\": false}}")]
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

    /// Reads them; without a file they are the defaults.
    pub fn load(root: &Path) -> Result<Self, SettingsError> {
        let path = Self::path(root);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| SettingsError::Malformed { path, why: crate::text::printable(&e.to_string()) }),
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
        assert_eq!(Settings::load(dir.path()).unwrap(), Settings::default());
        assert_eq!(Settings::default().network_user, "vigo");
        let path = Settings::path(dir.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (text, expected) in [("{}", true), ("{\"tasks\": true}", true), ("{\"tasks\": false}", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Settings::load(dir.path()).unwrap().tasks, expected, "{text}");
        }
        for text in ["", "{\"task\": false}", "{\"tasks\": 0}", "\u{1b}"] {
            std::fs::write(&path, text).unwrap();
            let message = Settings::load(dir.path()).unwrap_err().to_string();
            assert!(message.contains("agent.json") && message.contains("{\"tasks\": false}"), "{message}");
        }
    }
}
