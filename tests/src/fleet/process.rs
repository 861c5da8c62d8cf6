//! What the operating system counts of a process.

use std::fs;
use std::io;
use std::time::Duration;

/// Clock ticks of `/proc/PID/stat` in a second: the kernel's interface has had this number since it exists.
const TICKS: u64 = 100;

/// What a process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads since it began, in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
    /// Threads.
    pub threads: u64,
}

/// Of the process with this id.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse(&stat, &rollup).ok_or_else(|| io::Error::other("the kernel writes /proc in another way"))
}

fn parse(stat: &str, rollup: &str) -> Option<Usage> {
    // The name in parentheses may hold anything; what follows its last one is in columns.
    let mut columns = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = columns.nth(11)?.parse().ok()?;
    let system: u64 = columns.next()?.parse().ok()?;
    let threads = columns.nth(4)?.parse().ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Usage { cpu: Duration::from_millis((user + system) * 1000 / TICKS), rss: kilobytes << 10, threads })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_after_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 11 12 13 14 250 50 17 18 20 0 9 0 100 4096 25 1";
        let rollup = "00400000-7fff r--p 0 0:0 0 [rollup]\nRss:                2048 kB\nPss: 1 kB\n";
        let expected = Usage { cpu: Duration::from_secs(3), rss: 2 << 20, threads: 9 };
        assert_eq!(parse(stat, rollup), Some(expected));
        assert_eq!(parse("", rollup), None);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(usage(std::process::id()).unwrap().rss > 1 << 20);
    }
}
