//! The cosine transform of a block, both ways (T.81 §A.3.3), in single precision: its error is far
//! below one step of quantization.

/// Rows of eight.
pub(super) type Square = [[f32; 8]; 8];

/// The cosines, worked out once.
pub(super) struct Basis {
    /// By frequency and place, and the other way round.
    cosines: Square,
    turned: Square,
}

impl Basis {
    pub(super) fn new() -> Self {
        let mut basis = Self { cosines: [[0.0; 8]; 8], turned: [[0.0; 8]; 8] };
        for (u, row) in (0_u8..).zip(&mut basis.cosines) {
            let scale = if u == 0 { 0.125_f64.sqrt() } else { 0.5 };
            for (x, cosine) in (0_u8..).zip(row) {
                let angle = f64::from(u16::from(2 * x + 1) * u16::from(u)) * std::f64::consts::PI / 16.0;
                #[allow(clippy::cast_possible_truncation)] // between -1 and 1
                let value = (scale * angle.cos()) as f32;
                *cosine = value;
                if let Some(place) = basis.turned.get_mut(usize::from(x)).and_then(|r| r.get_mut(usize::from(u))) {
                    *place = value;
                }
            }
        }
        basis
    }

    /// Samples to coefficients.
    pub(super) fn forward(&self, samples: &Square) -> Square {
        product(&self.cosines, &product(samples, &self.turned))
    }

    /// Coefficients to samples.
    pub(super) fn inverse(&self, coefficients: &Square) -> Square {
        product(&self.turned, &product(coefficients, &self.cosines))
    }
}

/// Row by row, eight sums side by side: this is what a compiler makes wide instructions of.
#[inline]
fn product(left: &Square, right: &Square) -> Square {
    let mut out = [[0.0; 8]; 8];
    for (sums, factors) in out.iter_mut().zip(left) {
        for (factor, row) in factors.iter().zip(right) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += factor * value;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_block() {
        let basis = Basis::new();
        let sample = |at: usize| f32::from(u8::try_from(at * 37 % 256).unwrap_or_default()) - 128.0;
        let samples: Square = std::array::from_fn(|y| std::array::from_fn(|x| sample(x + y * 11)));
        let coefficients = basis.forward(&samples);
        let mean: f32 = samples.as_flattened().iter().sum::<f32>() / 64.0;
        assert!((coefficients[0][0] - mean * 8.0).abs() < 0.01, "DC is eight times the mean");
        let back = basis.inverse(&coefficients);
        let far = samples.as_flattened().iter().zip(back.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 0.001, "{far}");
    }
}
