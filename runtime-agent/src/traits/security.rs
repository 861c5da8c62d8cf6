//! `security`: what the kernel enforces beside permissions.

use super::{Answer, kernel_file, map};
use crate::root::Root;

pub fn collect(_root: &Root) -> Answer {
    let says = |path: &str, yes: &str| kernel_file(path).as_deref() == Some(yes);
    let security = map([
        ("selinux", Some(selinux(kernel_file("/sys/fs/selinux/enforce").as_deref()).into())),
        ("apparmor", Some(says("/sys/module/apparmor/parameters/enabled", "Y").into())),
        ("fips", Some(says("/proc/sys/crypto/fips_enabled", "1").into())),
    ]);
    Answer::from([("security".into(), security)])
}

fn selinux(enforce: Option<&str>) -> &'static str {
    match enforce {
        Some("1") => "enforcing",
        Some(_) => "permissive",
        None => "disabled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_selinux() {
        assert_eq!(
            (selinux(Some("1")), selinux(Some("0")), selinux(None)),
            ("enforcing", "permissive", "disabled")
        );
        let told = collect(&Root::open(std::path::Path::new("/")).unwrap());
        assert!(told.section.get("security").is_some_and(|s| s.at(&["fips".into()]).is_some()));
    }
}
