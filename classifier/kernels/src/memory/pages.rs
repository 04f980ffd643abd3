//! Pages of freed memory.

/// Tells glibc to keep freed memory for the next tensors. Returns whether there was anything to tell.
///
/// As it is, glibc returns a large buffer to the system as soon as it is freed, and the next one of the same size begins with
/// fresh pages: one fault and 4 KiB of zeros for each. A network that allocates the same buffers in every step pays for
/// them every time, a tenth of a transformer's forward pass on two cores.
///
/// This is a setting of the whole process, and its peak memory is what it keeps: it is for a program's `main`, not for libraries.
/// Other allocators are left as they are.
pub fn keep_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    {
        /// The heap grows by this many bytes at least.
        const GROWTH: libc::c_int = 16 << 20;
        // SAFETY: the calls change numbers of the allocator, which it reads under its own lock (mallopt(3)).
        unsafe {
            // No buffer has a mapping of its own, and the end of the heap is never given back.
            libc::mallopt(libc::M_MMAP_MAX, 0) == 1
                && libc::mallopt(libc::M_TRIM_THRESHOLD, -1) == 1
                && libc::mallopt(libc::M_TOP_PAD, GROWTH) == 1
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
    false
}
