//! Random numbers nobody can guess.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system gave no random bytes. Nothing can be sealed and nobody can be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandom;

impl fmt::Display for NoRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system gave no random bytes; restart the machine or look at its kernel log")
    }
}

impl std::error::Error for NoRandom {}

/// `N` random bytes from the operating system.
///
/// # Errors
/// [`NoRandom`] where it has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(random::<32>(), random::<32>());
    }
}
