use super::*;
use crate::testing::{
    Random, assert_near, assert_same_on_any_threads, assert_same_without_avx512, bits_on,
};

#[test]
fn e60_attention_gives_what_candle_gives_for_any_shape() {
    let mut random = Random(21);
    for _ in 0..50 {
        let (batch, heads) = (random.between(1, 3), random.one_of(&[1, 2, 5]));
        let channels = heads * random.one_of(&[1, 4, 40, 64, 80, 160]);
        let queries = random.one_of(&[1, 16, 63, 64, 77, 150]);
        let mask = random.one_of(&[Mask::Nothing, Mask::Causal]);
        let keys = match mask {
            Mask::Nothing => random.one_of(&[1, 77, 128, 129, 300]),
            Mask::Causal => queries,
        };
        let q = (random.strided(&[batch, queries, channels]) * 4.0).unwrap();
        let k = random.strided(&[batch, keys, channels]);
        let v = random.strided(&[batch, keys, channels]);
        let got = attention(&q, &k, &v, heads, mask).unwrap();
        let want = plain::attention(&q, &k, &v, heads, mask).unwrap();
        let what = format!("{heads} heads of {channels}, {queries} over {keys}, {mask:?}");
        assert_near(&got, &want, 1e-5, &what);
    }
}

#[test]
fn scores_of_any_size_do_not_overflow() {
    let mut random = Random(22);
    let q = (random.tensor(&[1, 70, 8]) * 1e3).unwrap();
    let k = (random.tensor(&[1, 300, 8]) * 1e3).unwrap();
    let v = random.tensor(&[1, 300, 8]);
    let got = attention(&q, &k, &v, 1, Mask::Nothing).unwrap();
    let want = plain::attention(&q, &k, &v, 1, Mask::Nothing).unwrap();
    // Scores of 10^6 round by 0.06, which their exponentials show.
    assert_near(&got, &want, 0.2, "large scores");
}

#[test]
fn e62_e64_neither_threads_nor_the_batch_change_attention() {
    let mut random = Random(23);
    let [q, k, v] = [(); 3].map(|()| random.tensor(&[3, 200, 80]));
    let run = |q: &Tensor, k: &Tensor, v: &Tensor| attention(q, k, v, 2, Mask::Nothing).unwrap();
    assert_same_on_any_threads(|| run(&q, &k, &v));
    assert_same_without_avx512(|| run(&q, &k, &v));
    let one = |x: &Tensor| x.narrow(0, 1, 1).unwrap();
    let alone = bits_on(2, || run(&one(&q), &one(&k), &one(&v)));
    let together = bits_on(2, || one(&run(&q, &k, &v)));
    assert!(alone == together, "the batch changes its element");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut random = Random(24);
    let x = random.tensor(&[1, 4, 6]);
    assert!(attention(&x, &x, &x, 4, Mask::Nothing).is_err());
    assert!(attention(&x, &x, &x, 0, Mask::Nothing).is_err());
    assert!(attention(&x, &random.tensor(&[1, 4, 8]), &x, 1, Mask::Nothing).is_err());
    assert!(attention(&x, &random.tensor(&[1, 5, 6]), &x, 1, Mask::Nothing).is_err());
}
