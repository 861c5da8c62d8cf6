//! `cron`: a job in `/etc/cron.d`.

use super::{DropIn, one_line, word};
use crate::resource::{Desired, ResourceError};

/// The type.
pub struct Cron;

impl DropIn for Cron {
    const KIND: &'static str = "cron";
    const ATTRIBUTES: &'static [&'static str] = &["schedule", "user", "command", "environment"];
    const DIRECTORY: &'static str = "/etc/cron.d";

    fn content(desired: &Desired) -> Result<String, ResourceError> {
        let schedule = one_line("schedule", desired.required("schedule")?)?;
        let field = |f: &str| f.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'/' | b',' | b'-'));
        let fields: Vec<&str> = schedule.split_ascii_whitespace().collect();
        if fields.len() != 5 || !fields.iter().all(|f| field(f)) {
            let why = "is not five fields: minute, hour, day, month and weekday".to_owned();
            return Err(ResourceError::Invalid { name: "schedule", why });
        }
        let user = word("user", desired.required("user")?)?;
        let command = one_line("command", desired.required("command")?)?;
        let mut content = "# Written by vigo.\n".to_owned();
        for (name, value) in desired.texts("environment")? {
            let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if name.is_empty() || !valid || value.chars().any(|c| c.is_control() || c == '"') {
                let why = format!("`{}` is not a variable that cron can hold", crate::text::printable(&name));
                return Err(ResourceError::Invalid { name: "environment", why });
            }
            content.push_str(&format!("{name}=\"{value}\"\n"));
        }
        // To cron a bare `%` is the end of the line.
        let command = command.replace("\\%", "%").replace('%', "\\%");
        Ok(format!("{content}{} {user} {command}\n", fields.join(" ")))
    }
}
