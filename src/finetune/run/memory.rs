//! How much memory the process takes.

/// Most bytes of main memory that the process has held so far, where the system says it (Linux).
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// A field of `/proc/self/status`, which is in kB.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_in_kilobytes() {
        let status = "Name:\troentgen\nVmHWM:\t   12345 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmHWM:"), Some(12_345 * 1024));
        assert_eq!(field(status, "VmRSS:"), None);
    }
}
