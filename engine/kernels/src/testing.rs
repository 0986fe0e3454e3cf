//! Seeded random tensors, some with strides, and comparisons for the tests of the kernels.

use candle_core::{Device, Tensor};

/// A small generator (`SplitMix64`), so that every failure comes back.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        let many = u64::try_from(high - low + 1).expect("lengths fit 64 bits");
        low + usize::try_from(self.next() % many).expect("it is less than a length")
    }

    /// Returns one of several values.
    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.between(0, values.len() - 1)]
    }

    /// Returns a contiguous tensor of values in -1..1.
    pub(crate) fn tensor(&mut self, dims: &[usize]) -> Tensor {
        let values =
            (0..dims.iter().product()).map(|_| (self.next() >> 40) as f32 / 8_388_608.0 - 1.0);
        Tensor::from_vec(values.collect::<Vec<f32>>(), dims, &Device::Cpu).unwrap()
    }

    /// Returns a tensor that is contiguous, or a transposed or narrowed view.
    pub(crate) fn strided(&mut self, dims: &[usize]) -> Tensor {
        let last = dims.len() - 1;
        match self.between(0, 3) {
            0 => {
                let mut swapped = dims.to_vec();
                swapped.swap(1, last);
                self.tensor(&swapped).transpose(1, last).unwrap()
            }
            1 => {
                let mut wider = dims.to_vec();
                wider[last] += 3;
                self.tensor(&wider).narrow(last, 2, dims[last]).unwrap()
            }
            2 if dims.len() == 4 => {
                let inner = self.tensor(&[dims[0], dims[2], dims[3], dims[1]]);
                inner.permute((0, 3, 1, 2)).unwrap()
            }
            _ => self.tensor(dims),
        }
    }
}

pub(crate) fn values(x: &Tensor) -> Vec<f32> {
    x.contiguous()
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Fails unless all values are within `bound` of each other.
pub(crate) fn assert_near(got: &Tensor, want: &Tensor, bound: f32, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let pairs = values(got).into_iter().zip(values(want));
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= bound, "{what}: differs by {worst:e}");
}

/// Returns the bits of what `f` gives on so many threads.
pub(crate) fn bits_on(threads: usize, f: impl Fn() -> Tensor + Send + Sync) -> Vec<u32> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| values(&f()).into_iter().map(f32::to_bits).collect())
}

/// Fails unless `f` gives the same bits on one to four threads.
pub(crate) fn assert_same_on_any_threads(f: impl Fn() -> Tensor + Send + Sync) {
    let one = bits_on(1, &f);
    for threads in 2..=4 {
        assert!(
            bits_on(threads, &f) == one,
            "{threads} threads change the result"
        );
    }
}

/// Fails unless `f` gives the same bits with AVX-512 and without, where the processor has it.
pub(crate) fn assert_same_without_avx512(f: impl Fn() -> Tensor + Send + Sync) {
    use std::sync::atomic::Ordering::Relaxed;

    use crate::simd::tests::NARROW;

    let wide = bits_on(2, &f);
    NARROW.store(true, Relaxed);
    let narrow = bits_on(2, &f);
    NARROW.store(false, Relaxed);
    assert!(wide == narrow || !has_fma(), "AVX-512 changes the result");
}

/// Whether there are two vector instruction sets to compare.
fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return crate::simd::Avx2::detect().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}
