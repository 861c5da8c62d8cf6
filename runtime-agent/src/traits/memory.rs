//! `memory`, `swap`, `load` and `uptime`: what the kernel measures.

use super::{Answer, kernel_file, map};
use crate::root::Root;
use ir::{Finite, Value};

pub fn collect(_root: &Root) -> Answer {
    let mut section = super::Section::new();
    if let Some(text) = kernel_file("/proc/meminfo") {
        section.extend(memory(&text));
    }
    section.extend(kernel_file("/proc/loadavg").and_then(|text| load(&text)).map(|v| ("load".into(), v)));
    section.extend(kernel_file("/proc/uptime").and_then(|text| uptime(&text)).map(|v| ("uptime".into(), v)));
    Answer::from(section)
}

fn memory(meminfo: &str) -> [(std::sync::Arc<str>, Value); 2] {
    let mb = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<i64>().ok().map(|kb| kb / 1024)
    };
    let total = mb("MemTotal");
    // A kernel from before 3.14 does not say what is available.
    let available = mb("MemAvailable").or_else(|| mb("MemFree"));
    let used = total.zip(available).filter(|(total, _)| *total > 0);
    let used = used.map(|(total, available)| (total - available).clamp(0, total) * 100 / total);
    let memory = map([
        ("total_mb", total.map(Value::Int)),
        ("available_mb", available.map(Value::Int)),
        ("used_percent", used.map(Value::Int)),
    ]);
    let swap =
        map([("total_mb", mb("SwapTotal").map(Value::Int)), ("free_mb", mb("SwapFree").map(Value::Int))]);
    [("memory".into(), memory), ("swap".into(), swap)]
}

fn load(loadavg: &str) -> Option<Value> {
    let mut numbers = loadavg.split_whitespace().map(|n| n.parse().ok().and_then(Finite::new));
    let mut next = || numbers.next().flatten().map(Value::Float);
    let (one, five, fifteen) = (next()?, next()?, next()?);
    Some(map([("one", Some(one)), ("five", Some(five)), ("fifteen", Some(fifteen))]))
}

fn uptime(text: &str) -> Option<Value> {
    let seconds = text.split(['.', ' ']).next()?.parse().ok()?;
    Some(map([("seconds", Some(Value::Int(seconds)))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_measures() {
        let text = "MemTotal: 2048000 kB\nMemFree: 1 kB\nMemAvailable: 1024000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
        let [(_, memory), (_, swap)] = memory(text);
        let at = |value: &Value, name: &str| value.at(&[name.into()]).cloned();
        assert_eq!(at(&memory, "total_mb"), Some(Value::Int(2000)));
        assert_eq!(at(&memory, "used_percent"), Some(Value::Int(50)));
        assert_eq!(at(&swap, "total_mb"), Some(Value::Int(0)));
        assert_eq!(
            at(&load("0.52 1.00 12.25 1/234 5678").unwrap(), "fifteen"),
            Finite::new(12.25).map(Value::Float)
        );
        assert_eq!(load("0.52 1.00"), None);
        assert_eq!(at(&uptime("350735.47 234388.90").unwrap(), "seconds"), Some(Value::Int(350_735)));
        assert_eq!(at(&super::memory("nonsense")[0].1, "total_mb"), None);
    }
}
