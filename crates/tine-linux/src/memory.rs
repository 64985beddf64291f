//! Memory that the C library keeps for later.

/// `malloc_trim(3)` — gives the pages in which nothing is allocated any more back to the kernel. What was
/// freed stays with the process otherwise, but for the end of its heap.
///
/// Takes about a millisecond for some ten megabytes. Does nothing where the C library is not glibc.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and returns one, touches no memory that is allocated, and may be called
    // from any thread at any time (malloc_trim(3), ATTRIBUTES).
    unsafe {
        libc::malloc_trim(0);
    }
}
