//! torch's CPU generator: MT19937, and Box-Muller in blocks of 16.
//!
//! `libm` stands in for the system's mathematics, so every machine draws the same bits.

use super::halves;

const MT_LEN: usize = 624;

/// torch's CPU generator.
#[derive(Clone, Debug)]
pub(crate) struct TorchCpu {
    state: [u32; MT_LEN],
    at: usize,
    /// The second half of a pair drawn in double precision.
    cached: Option<f64>,
}

impl TorchCpu {
    /// Length of the saved state: the generator's words, its place in them, and a cached value.
    pub(super) const STATE_LEN: usize = 4 * MT_LEN + 4 + 1 + 8;

    /// Seeds with the low 32 bits, as torch does.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = [0_u32; MT_LEN];
        let [low, _] = halves(seed);
        let mut previous = low;
        state[0] = previous;
        for (i, slot) in (1_u32..).zip(state.iter_mut().skip(1)) {
            previous = (previous ^ (previous >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i);
            *slot = previous;
        }
        Self {
            state,
            at: MT_LEN,
            cached: None,
        }
    }

    /// Draws `count` values as one `torch.randn(count)` call does.
    pub(crate) fn normal(&mut self, count: usize) -> Vec<f32> {
        if count < 16 {
            return (0..count).map(|_| round(self.normal_double())).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        for block in values.chunks_exact_mut(16) {
            box_muller(block);
        }
        if !count.is_multiple_of(16) {
            let tail = &mut values[count - 16..];
            tail.iter_mut().for_each(|value| *value = self.uniform());
            box_muller(tail);
        }
        values
    }

    /// Appends the state, [`Self::STATE_LEN`] bytes.
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.extend(self.state.iter().flat_map(|word| word.to_le_bytes()));
        out.extend(u32::try_from(self.at).unwrap_or(0).to_le_bytes());
        out.push(u8::from(self.cached.is_some()));
        out.extend(self.cached.unwrap_or(0.0).to_le_bytes());
    }

    /// Reads a saved state; nothing if it is none.
    pub(super) fn load(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.split_at_checked(4 * MT_LEN)?;
        let (at, rest) = rest.split_first_chunk()?;
        let (&is_cached, rest) = rest.split_first()?;
        let cached = f64::from_le_bytes(rest.try_into().ok()?);
        let at = usize::try_from(u32::from_le_bytes(*at)).ok()?;
        let mut state = [0; MT_LEN];
        for (slot, word) in state.iter_mut().zip(words.as_chunks().0) {
            *slot = u32::from_le_bytes(*word);
        }
        let sound = at <= MT_LEN && is_cached <= 1 && cached.is_finite();
        sound.then_some(Self {
            state,
            at,
            cached: (is_cached == 1).then_some(cached),
        })
    }

    fn uniform(&mut self) -> f32 {
        (self.next() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    fn uniform_double(&mut self) -> f64 {
        let (high, low) = (u64::from(self.next()), u64::from(self.next()));
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
    }

    fn normal_double(&mut self) -> f64 {
        if let Some(cached) = self.cached.take() {
            return cached;
        }
        let (u1, u2) = (self.uniform_double(), self.uniform_double());
        let radius = libm::sqrt(-2.0 * libm::log1p(-u2));
        let angle = std::f64::consts::TAU * u1;
        self.cached = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    fn next(&mut self) -> u32 {
        if self.at == MT_LEN {
            self.refill();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for i in 0..MT_LEN {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % MT_LEN] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + 397) % MT_LEN] ^ (y >> 1) ^ odd;
        }
        self.at = 0;
    }
}

/// Turns sixteen uniforms into sixteen normals: cosines first, then sines.
fn box_muller(block: &mut [f32]) {
    for i in 0..8 {
        let (u1, u2) = (1.0 - block[i], block[i + 8]);
        let radius = libm::sqrtf(-2.0 * libm::logf(u1));
        let angle = round(std::f64::consts::TAU * f64::from(u2));
        block[i] = radius * libm::cosf(angle);
        block[i + 8] = radius * libm::sinf(angle);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn round(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::assert_near;

    #[test]
    fn torch_cpu_draws_the_published_values() {
        let seed_0 = [
            -1.1258, -1.1524, -0.2506, -0.4339, 0.8487, 0.6920, -0.3160, -2.1152, 0.3223, -1.2633,
            0.3500, 0.3081, 0.1198, 1.2377, 1.1168, -0.2473,
        ];
        let mut rng = TorchCpu::new(0);
        assert_near(&rng.normal(16), &seed_0);
        assert_near(&rng.normal(16), &[-1.3527, -1.6959, 0.5667, 0.7935]);
        assert_near(
            &TorchCpu::new(0).normal(4),
            &[1.5410, -0.2934, -2.1788, 0.5684],
        );
        let seed_42 = [1.9269, 1.4873, 0.9007, -2.1055, 0.6784, -1.2345];
        assert_near(&TorchCpu::new(42).normal(64), &seed_42);
        assert_near(
            &TorchCpu::new(42).normal(4),
            &[0.3367, 0.1288, 0.2345, 0.2303],
        );
    }

    #[test]
    fn torch_cpu_ignores_the_high_half_of_a_seed() {
        assert_eq!(
            TorchCpu::new(7).normal(20),
            TorchCpu::new(7 | 1 << 40).normal(20)
        );
    }

    #[test]
    fn e36_a_saved_generator_goes_on_where_it_was() {
        let mut rng = TorchCpu::new(3);
        rng.normal(700);
        rng.normal(3);
        let mut bytes = Vec::new();
        rng.save(&mut bytes);
        assert_eq!(bytes.len(), TorchCpu::STATE_LEN);
        let mut back = TorchCpu::load(&bytes).unwrap();
        assert_eq!(rng.normal(5), back.normal(5));
        assert_eq!(rng.normal(1000), back.normal(1000));
        assert!(TorchCpu::load(&bytes[1..]).is_none());
        bytes[4 * MT_LEN + 2] = 1;
        assert!(TorchCpu::load(&bytes).is_none());
    }
}
