//! numpy's `SeedSequence` with a pool of 24 words, as torchsde derives seeds with it (the algorithm is
//! O'Neill's `seed_seq_fe`).

const POOL: usize = 24;

/// Returns the first word that `SeedSequence(entropy, spawn_key, pool_size=24)` generates.
pub(super) fn first_word(entropy: u64, spawn_key: &[u64]) -> u32 {
    let mut hash = Hash {
        constant: 0x43b0_d7e5,
        factor: 0x931e_8875,
    };
    let mut words = as_words(entropy);
    if !spawn_key.is_empty() {
        words.resize(POOL, 0);
    }
    words.extend(spawn_key.iter().flat_map(|key| as_words(*key)));
    let mut pool = [0_u32; POOL];
    for (i, slot) in pool.iter_mut().enumerate() {
        *slot = hash.word(words.get(i).copied().unwrap_or(0));
    }
    for from in 0..POOL {
        for to in 0..POOL {
            if from != to {
                pool[to] = mix(pool[to], hash.word(pool[from]));
            }
        }
    }
    for word in words.iter().skip(POOL) {
        for slot in &mut pool {
            *slot = mix(*slot, hash.word(*word));
        }
    }
    let mut out = Hash {
        constant: 0x8b51_f9dd,
        factor: 0x58f3_8ded,
    };
    out.word(pool[0])
}

/// A number as little-endian words without leading zeros, one at least.
fn as_words(number: u64) -> Vec<u32> {
    let [low, high] = super::halves(number);
    if high == 0 {
        vec![low]
    } else {
        vec![low, high]
    }
}

/// A multiplicative hash whose constant moves on with every word.
struct Hash {
    constant: u32,
    factor: u32,
}

impl Hash {
    fn word(&mut self, word: u32) -> u32 {
        let mixed = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.factor);
        let mixed = mixed.wrapping_mul(self.constant);
        mixed ^ (mixed >> 16)
    }
}

fn mix(x: u32, y: u32) -> u32 {
    let mixed = x
        .wrapping_mul(0xca01_f9dd)
        .wrapping_sub(y.wrapping_mul(0x4973_f715));
    mixed ^ (mixed >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numpys() {
        assert_eq!(first_word(5, &[]), 3_154_616_629);
        assert_eq!(first_word((1 << 40) + 7, &[3, 2]), 500_983_476);
        assert_eq!(first_word(0, &[(1 << 33) + 1, 34]), 2_251_331_998);
    }
}
