//! Random numbers nobody can guess, but in a simulation that asked for those that can be.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

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

thread_local! {
    static FORESEEN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// While it lives, what its thread draws follows from a seed, so that a simulation takes the same
/// way twice. Only a test may make one: everything sealed meanwhile can be opened by anybody.
/// `tests/architecture.rs` holds the product to it.
pub struct Foreseen(PhantomData<*const ()>);

impl Foreseen {
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        FORESEEN.set(Some(seed));
        Self(PhantomData)
    }
}

impl Drop for Foreseen {
    fn drop(&mut self) {
        FORESEEN.set(None);
    }
}

/// `N` random bytes from the operating system.
///
/// # Errors
/// [`NoRandom`] where it has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    if let Some(state) = FORESEEN.get() {
        FORESEEN.set(Some(foresee(state, &mut bytes)));
        return Ok(bytes);
    }
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// Fills `bytes` by `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014) and answers the next state.
fn foresee(mut state: u64, bytes: &mut [u8]) -> u64 {
    for piece in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        piece.iter_mut().zip((z ^ (z >> 31)).to_be_bytes()).for_each(|(to, from)| *to = from);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_draws_the_same_twice_and_nobody_else_does() {
        let draw = || (random::<10>(), random::<32>());
        let foreseen = Foreseen::from_seed(7);
        let first = draw();
        assert_ne!(std::thread::spawn(|| (random::<10>(), random::<32>())).join().unwrap(), first);
        drop(foreseen);
        assert_ne!(draw(), first);
        let _foreseen = Foreseen::from_seed(7);
        assert_eq!(draw(), first);
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(random::<32>(), random::<32>());
    }
}
