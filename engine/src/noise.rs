//! Seeded Gaussian noise, equal to what other programs draw from the same seed.
//!
//! Formulas and vectors: torch's CPU generator (MT19937 and Box-Muller in blocks of 16) and its CUDA
//! generator (Philox4x32-10), the two that A1111, `ComfyUI` and diffusers use. `libm` stands in for
//! the system's mathematics, so every machine draws the same bits.

use hearth_protocol::job::Rng;

/// Draws `count` standard normal values with the generator a job asks for.
pub(crate) fn normal(rng: Rng, seed: u64, count: usize) -> Vec<f32> {
    match rng {
        Rng::TorchCpu => TorchCpu::new(seed).normal(count),
        Rng::Nv => philox_normal(seed, count),
    }
}

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

/// The first draw of torch's CUDA generator: element i from counter (0, 0, i, 0).
fn philox_normal(seed: u64, count: usize) -> Vec<f32> {
    const SCALE: f32 = 1.0 / 4_294_967_296.0;
    const TURN: f32 = SCALE * std::f32::consts::TAU;
    let key = halves(seed);
    (0..count as u64)
        .map(|i| {
            let [low, _] = halves(i);
            let [g0, g1, ..] = philox(key, [0, 0, low, 0]);
            let u = g0 as f32 * SCALE + SCALE / 2.0;
            let v = g1 as f32 * TURN + TURN / 2.0;
            libm::sqrtf(-2.0 * libm::logf(u)) * libm::sinf(v)
        })
        .collect()
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

/// Returns the low and the high half.
fn halves(x: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = x.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
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

    fn assert_near(got: &[f32], want: &[f32]) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() < 1e-4, "{i}: {got} {want}");
        }
    }

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
    fn nvidia_draws_the_published_values() {
        let seed_0 = [
            -0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284,
        ];
        assert_near(&philox_normal(0, 8), &seed_0);
        assert_near(&philox_normal(42, 4), &[0.1940, 2.1614, -0.1721, 0.8491]);
    }
}
