//! How many files this process may have open.
//!
//! Each phone that sends, each archive and each sealed file is one. Most systems begin a process with
//! 1,024 and allow it many more; the low number is for programs that use `select`, which nothing
//! here does.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to what the system allows. Where that fails the process works with what it has:
/// the doors wait when files run out.
pub fn raise() {
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_open_as_many_files_as_the_system_allows() {
        raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
    }
}
