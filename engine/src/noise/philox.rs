//! torch's CUDA generator: Philox4x32-10.
//!
//! Element `i` of the `k`th draw comes from counter `(k, 0, i, 0)`; that holds while a draw has no more
//! elements than the device starts threads, as those of latents do.

use super::halves;

/// torch's CUDA generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Philox {
    seed: u64,
    /// Draws done.
    offset: u32,
}

impl Philox {
    /// Length of the saved state.
    pub(super) const STATE_LEN: usize = 12;

    /// Seeds with all 64 bits.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, offset: 0 }
    }

    /// Draws `count` values as one `torch.randn(count, device="cuda")` call does.
    pub(crate) fn normal(&mut self, count: usize) -> Vec<f32> {
        const SCALE: f32 = 1.0 / 4_294_967_296.0;
        const TURN: f32 = SCALE * std::f32::consts::TAU;
        let key = halves(self.seed);
        let draw = |i: u64| {
            let [low, _] = halves(i);
            let [g0, g1, ..] = philox(key, [self.offset, 0, low, 0]);
            let u = g0 as f32 * SCALE + SCALE / 2.0;
            let v = g1 as f32 * TURN + TURN / 2.0;
            libm::sqrtf(-2.0 * libm::logf(u)) * libm::sinf(v)
        };
        let values = (0..count as u64).map(draw).collect();
        self.offset = self.offset.wrapping_add(1);
        values
    }

    /// Appends the state, [`Self::STATE_LEN`] bytes.
    pub(super) fn save(self, out: &mut Vec<u8>) {
        out.extend(self.seed.to_le_bytes());
        out.extend(self.offset.to_le_bytes());
    }

    /// Reads a saved state; nothing if it is none.
    pub(super) fn load(bytes: &[u8]) -> Option<Self> {
        let (seed, offset) = bytes.split_first_chunk()?;
        Some(Self {
            seed: u64::from_le_bytes(*seed),
            offset: u32::from_le_bytes(offset.try_into().ok()?),
        })
    }
}

/// Ten rounds of Philox4x32.
fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let [low0, high0] = halves(u64::from(counter[0]) * 0xd251_1f53);
        let [low1, high1] = halves(u64::from(counter[2]) * 0xcd9e_8d57);
        counter = [
            high1 ^ counter[1] ^ key[0],
            low1,
            high0 ^ counter[3] ^ key[1],
            low0,
        ];
        key = [
            key[0].wrapping_add(0x9e37_79b9),
            key[1].wrapping_add(0xbb67_ae85),
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::assert_near;

    #[test]
    fn nvidia_draws_the_published_values() {
        let seed_0 = [
            -0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284,
        ];
        let mut rng = Philox::new(0);
        assert_near(&rng.normal(8), &seed_0);
        assert_near(&rng.normal(4), &[0.1808, -0.5523, 0.9238, -0.7350]);
        assert_near(
            &Philox::new(42).normal(4),
            &[0.1940, 2.1614, -0.1721, 0.8491],
        );
    }

    #[test]
    fn e36_a_saved_generator_goes_on_where_it_was() {
        let mut rng = Philox::new(1 << 40 | 9);
        rng.normal(3);
        let mut bytes = Vec::new();
        rng.save(&mut bytes);
        assert_eq!(Philox::load(&bytes), Some(rng));
        assert_eq!(bytes.len(), Philox::STATE_LEN);
        assert!(Philox::load(&bytes[1..]).is_none());
    }
}
