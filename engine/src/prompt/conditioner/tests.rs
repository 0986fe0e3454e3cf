use std::cell::RefCell;
use std::rc::Rc;

use candle_core::Device;

use super::super::encoder::TextEncoder;
use super::super::{parse, parse_negative};
use super::*;
use crate::clip::Encoded;
use crate::tokenizer::Frame;

type Windows = Rc<RefCell<Vec<Vec<Piece>>>>;

/// Says each position's token, and the first token of the content as the whole window.
#[derive(Debug)]
struct Echo {
    scale: f32,
    heard: Windows,
}

impl TextEncoder for Echo {
    fn encode(&self, windows: &[Vec<Piece>]) -> candle_core::Result<Encoded> {
        self.heard.borrow_mut().extend(windows.iter().cloned());
        let value = |piece: &Piece| piece.token().map_or(-1.0, |id| id as f32) * self.scale;
        let row = |window: &Vec<Piece>| window.iter().map(value).collect::<Vec<f32>>();
        let rows: Vec<Vec<f32>> = windows.iter().map(row).collect();
        let pooled: Vec<f32> = rows.iter().map(|row| row[1]).collect();
        Ok(Encoded {
            hidden: Tensor::new(rows, &Device::Cpu)?.unsqueeze(2)?,
            pooled: Some(Tensor::new(pooled, &Device::Cpu)?.unsqueeze(1)?),
        })
    }
}

fn tokenizer() -> PromptTokenizer {
    let vocab = include_str!("../../../kindling/vocab.json");
    let merges = include_str!("../../../kindling/merges.txt");
    PromptTokenizer::from_vocabulary(vocab, merges, 77).unwrap()
}

fn id(tokenizer: &PromptTokenizer, word: &str) -> f32 {
    tokenizer.ids(word).unwrap()[0] as f32
}

/// Reads prompts over ten steps with encoders of these scales.
struct Bench {
    tokenizer: PromptTokenizer,
    none: EmbeddingNames,
    heard: Windows,
    conventions: Conventions,
}

impl Bench {
    fn new(compat: Compat) -> Self {
        Self {
            tokenizer: tokenizer(),
            none: EmbeddingNames::default(),
            heard: Windows::default(),
            conventions: Conventions {
                compat,
                empty_negative: EmptyNegative::Encoded,
            },
        }
    }

    fn conditioner(&self, encoders: &[(f32, Frame)]) -> Conditioner<'_> {
        let encoder = |(scale, frame): &(f32, Frame)| Encoder {
            encoder: Box::new(Echo {
                scale: *scale,
                heard: Rc::clone(&self.heard),
            }),
            frame: *frame,
        };
        let encoders = encoders.iter().map(encoder).collect();
        Conditioner::new(&self.tokenizer, &self.none, encoders, self.conventions)
    }

    fn script(&self, positive: &str, negative: &str) -> Script {
        let mut conditioner = self.conditioner(&[(1.0, self.tokenizer.frame())]);
        self.read(&mut conditioner, positive, negative).unwrap()
    }

    fn read(
        &self,
        conditioner: &mut Conditioner<'_>,
        positive: &str,
        negative: &str,
    ) -> Result<Script, PromptError> {
        let positive = parse(positive, self.conventions.compat)?;
        let negative = parse_negative(negative, self.conventions.compat)?;
        conditioner.condition(&positive, &negative, Stage::Base { steps: 10 })
    }
}

/// Returns the values of one channel.
fn values(condition: &Condition, channel: usize) -> Vec<f32> {
    let context = condition.context.squeeze(0).unwrap().t().unwrap();
    context.get(channel).unwrap().to_vec1().unwrap()
}

#[test]
fn e27_every_window_is_encoded_once() {
    let bench = Bench::new(Compat::A1111);
    let mut conditioner = bench.conditioner(&[(1.0, bench.tokenizer.frame())]);
    bench
        .read(&mut conditioner, "[red|blue] sea BREAK moon", "")
        .unwrap();
    let count = bench.heard.borrow().len();
    assert_eq!(count, 4, "red sea, blue sea, moon, nothing");
    bench.read(&mut conditioner, "moon [red:4]", "").unwrap();
    let heard = bench.heard.borrow();
    assert_eq!(heard.len(), 5, "only moon with red is new");
    assert_eq!(heard[4].len(), 77);
}

#[test]
fn e27_texts_follow_the_evaluations() {
    let bench = Bench::new(Compat::A1111);
    let script = bench.script("[red:blue:3]", "");
    let (red, blue) = (id(&bench.tokenizer, "red"), id(&bench.tokenizer, "blue"));
    for (evaluation, want) in [(0, red), (3, red), (4, blue), (9, blue), (500, blue)] {
        let parts = script.at(evaluation);
        assert_eq!(values(parts[0].1, 0)[1], want, "at {evaluation}");
    }
}

#[test]
fn e27_a1111_fills_with_nothing_and_comfy_repeats() {
    let long = "red ".repeat(100);
    let bench = Bench::new(Compat::A1111);
    let script = bench.script(&long, "moon");
    let negative = values(script.negative_at(0).unwrap(), 0);
    assert_eq!(negative.len(), 154);
    let end = bench.tokenizer.frame().end as f32;
    assert!(negative[78..].iter().all(|value| *value == end));

    let bench = Bench::new(Compat::Comfy);
    let script = bench.script(&long, "moon");
    let negative = values(script.negative_at(0).unwrap(), 0);
    assert_eq!(negative[..77], negative[77..]);
    let of = |lengths: &[usize]| Length::of(&lengths.iter().copied().collect(), Compat::Comfy);
    assert_eq!(of(&[2, 3]).windows, 6);
    assert_eq!(of(&[1, 7]).filling, Filling::Empty);
}

#[test]
fn e27_two_encoders_stand_side_by_side() {
    let bench = Bench::new(Compat::A1111);
    let frame = bench.tokenizer.frame();
    let zero = Frame { pad: 0, ..frame };
    let mut conditioner = bench.conditioner(&[(1.0, frame), (2.0, zero)]);
    let text = "red BREAK moon";
    let script = bench.read(&mut conditioner, text, "").unwrap();
    let red = id(&bench.tokenizer, "red");
    let batch = script.batch(0, 7.5).unwrap();
    assert_eq!(batch.context.dims(), [2, 154, 2]);
    let parts = script.at(0);
    assert_eq!(values(parts[0].1, 0)[1], red);
    assert_eq!(values(parts[0].1, 1)[1], 2.0 * red);
    assert_eq!(
        values(parts[0].1, 0)[3],
        frame.end as f32,
        "padded with the end"
    );
    assert_eq!(values(parts[0].1, 1)[3], 0.0, "padded with 0");
    let pooled = batch.pooled.unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(
        pooled[1],
        [2.0 * red],
        "of the last encoder and first window"
    );
}

#[test]
fn e27_empty_negative_is_zeros_where_the_model_says_so() {
    for (compat, zeros) in [(Compat::A1111, true), (Compat::Comfy, false)] {
        let mut bench = Bench::new(compat);
        bench.conventions.empty_negative = EmptyNegative::Zeros;
        let script = bench.script("red", "");
        let negative = values(script.negative_at(0).unwrap(), 0);
        assert_eq!(negative.iter().all(|value| *value == 0.0), zeros);
        let script = bench.script("red", "moon");
        assert!(values(script.negative_at(0).unwrap(), 0)[1] > 0.0);
    }
}

#[test]
fn e20_and_composes_what_the_network_says() {
    let bench = Bench::new(Compat::A1111);
    let script = bench.script("red:1.5 AND moon:-0.5", "");
    let batch = script.batch(0, 2.0).unwrap();
    assert_eq!(batch.rows(), 3);
    let outputs = Tensor::new(&[[1.0_f32], [3.0], [7.0]], &Device::Cpu).unwrap();
    let got = batch.compose(&outputs).unwrap().to_vec2::<f32>().unwrap();
    // 1 + 1.5 * 2 * (3 - 1) - 0.5 * 2 * (7 - 1)
    assert_eq!(got, [[1.0]]);
    assert_eq!(bench.script("red", "").batch(0, 1.0).unwrap().rows(), 1);
}

#[test]
fn e29_stage_of_too_many_windows_is_refused_before_the_work() {
    let bench = Bench::new(Compat::A1111);
    let text = format!("{} [a|b|c|d|e|f|g|h|i|j]", "BREAK red ".repeat(140));
    let mut conditioner = bench.conditioner(&[(1.0, bench.tokenizer.frame())]);
    let refused = bench.read(&mut conditioner, &text, "");
    assert!(matches!(
        refused,
        Err(PromptError::Windows {
            max: STAGE_WINDOWS_MAX,
            ..
        })
    ));
    assert!(bench.heard.borrow().is_empty());
}
