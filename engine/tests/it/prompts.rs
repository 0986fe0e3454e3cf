//! Prompts against `specs/vectors/engine/prompts.json`, and against whatever anybody might type.

use hearth_engine::PromptTokenizer;
use hearth_engine::prompt::{
    EmbeddingNames, Piece, Run, Schedule, Span, Stage, Window, network_tags, parse, parse_negative,
    runs, windows,
};
use hearth_engine::tiny::Layout;
use hearth_protocol::job::Compat;
use hearth_protocol::limits;
use proptest::prelude::*;
use serde_json::Value;

use crate::material::{self, Models};

const COMPATS: [Compat; 3] = [Compat::A1111, Compat::Comfy, Compat::Diffusers];

fn vectors() -> Value {
    serde_json::from_slice(&material::vector("prompts.json")).unwrap()
}

fn cases<'a>(vectors: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let cases = vectors[name].as_array().unwrap().iter();
    cases.map(|case| (case["text"].as_str().unwrap(), case))
}

fn tiny() -> PromptTokenizer {
    let models = Models::new(Layout::Classic);
    let read =
        |name| std::fs::read_to_string(models.path(&format!("model/tokenizer/{name}"))).unwrap();
    PromptTokenizer::from_vocabulary(&read("vocab.json"), &read("merges.txt"), 77).unwrap()
}

fn kindling() -> PromptTokenizer {
    let vocab = include_str!("../../kindling/vocab.json");
    PromptTokenizer::from_vocabulary(vocab, include_str!("../../kindling/merges.txt"), 77).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn e22_schedules_are_those_of_the_grammar() {
    let spans = |texts: Vec<Span>| -> Vec<(u32, String)> {
        let texts = texts.into_iter();
        texts
            .map(|span| (span.until, span.text.to_string()))
            .collect()
    };
    for (text, case) in cases(&vectors(), "schedules") {
        let schedule = Schedule::parse(text);
        for (name, stage) in [
            ("base", Stage::Base { steps: 10 }),
            ("hires", Stage::Hires { base: 10, steps: 8 }),
        ] {
            let want: Vec<(u32, String)> = serde_json::from_value(case[name].clone()).unwrap();
            assert_eq!(spans(schedule.texts(stage)), want, "{text:?} {name}");
        }
    }
}

#[test]
fn e23_weights_are_those_of_both_dialects() {
    for (text, case) in cases(&vectors(), "emphases") {
        for (name, compat) in [("a1111", Compat::A1111), ("comfy", Compat::Comfy)] {
            let want = case[name].as_array().unwrap();
            let got = runs(text, compat);
            assert_eq!(got.len(), want.len(), "{text:?} {name}: {got:?}");
            for (got, want) in got.iter().zip(want) {
                match got {
                    Run::Break => assert!(want.is_null(), "{text:?} {name}"),
                    Run::Text {
                        text: words,
                        weight,
                    } => {
                        assert_eq!(words, want[0].as_str().unwrap(), "{text:?} {name}");
                        let off = (weight - want[1].as_f64().unwrap()).abs();
                        assert!(off < 1e-12, "{text:?} {name}: {weight}");
                    }
                }
            }
        }
    }
}

#[test]
fn e24_tokens_are_those_of_transformers() {
    let vectors = vectors();
    let (tiny, kindling, clip) = (tiny(), kindling(), PromptTokenizer::clip().unwrap());
    let description = vectors["descriptions"][0].as_str().unwrap();
    let described = PromptTokenizer::from_description(description, 77).unwrap();
    assert_eq!(described.frame(), tiny.frame());
    let mut count = 0;
    for (text, case) in cases(&vectors, "strings") {
        assert_eq!(tiny.ids(text).unwrap(), ids(&case["tiny"]), "{text:?}");
        assert_eq!(described.ids(text).unwrap(), ids(&case["tiny"]), "{text:?}");
        assert_eq!(
            kindling.ids(text).unwrap(),
            ids(&case["kindling"]),
            "{text:?}"
        );
        assert_eq!(clip.ids(text).unwrap(), ids(&case["clip"]), "{text:?}");
        count += 1;
    }
    assert!(count > 400, "{count} strings are compared");
}

/// Returns a window as the vectors write it: pieces with weights.
fn shown(window: &Window) -> Vec<(Vec<u64>, f32)> {
    let pieces = window.pieces.iter().map(|piece| match piece {
        Piece::Token(id) => vec![u64::from(*id)],
        Piece::Embedding { index, row } => vec![*index as u64, *row as u64],
    });
    pieces.zip(window.weights.iter().copied()).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn wanted(window: &Value) -> Vec<(Vec<u64>, f32)> {
    let pieces = window.as_array().unwrap().iter();
    let number = |value: &Value| value.as_u64().unwrap();
    let piece = |value: &Value| match value.as_array() {
        Some(pair) => pair.iter().map(number).collect(),
        None => vec![number(value)],
    };
    pieces
        .map(|pair| (piece(&pair[0]), pair[1].as_f64().unwrap() as f32))
        .collect()
}

fn embeddings(vectors: &Value, tokenizer: &PromptTokenizer) -> EmbeddingNames {
    let names: Vec<(String, usize)> =
        serde_json::from_value(vectors["embeddings"].clone()).unwrap();
    EmbeddingNames::new(names, tokenizer).unwrap()
}

#[test]
fn e25_windows_are_those_of_both_programs() {
    let (vectors, tokenizer) = (vectors(), tiny());
    let embeddings = embeddings(&vectors, &tokenizer);
    for (text, case) in cases(&vectors, "windows") {
        for (name, compat) in [("a1111", Compat::A1111), ("comfy", Compat::Comfy)] {
            let reading = windows(&runs(text, compat), &tokenizer, &embeddings, compat).unwrap();
            let got: Vec<_> = reading.windows.iter().map(shown).collect();
            let want: Vec<_> = case[name].as_array().unwrap().iter().map(wanted).collect();
            assert_eq!(got, want, "{text:?} {name}");
            assert_eq!(reading.dropped, 0);
        }
    }
}

#[test]
fn e25_diffusers_cuts_and_says_how_much() {
    let tokenizer = tiny();
    let none = EmbeddingNames::default();
    let text = "red ".repeat(80);
    let literal = runs(&text, Compat::Diffusers);
    let reading = windows(&literal, &tokenizer, &none, Compat::Diffusers).unwrap();
    assert_eq!(reading.windows.len(), 1);
    assert_eq!(reading.windows[0].pieces.len(), 75);
    assert_eq!(reading.dropped, 5);
}

#[test]
fn e28_embeddings_are_found_by_name_and_missed_by_name() {
    let (vectors, tokenizer) = (vectors(), tiny());
    let embeddings = embeddings(&vectors, &tokenizer);
    let read =
        |text: &str, compat| windows(&runs(text, compat), &tokenizer, &embeddings, compat).unwrap();
    let ember = Piece::Embedding { index: 0, row: 0 };
    let glow = Piece::Embedding { index: 1, row: 0 };
    let reading = read("EMBER-glow ember", Compat::A1111);
    assert_eq!(reading.windows[0].pieces[0], glow, "the longest name wins");
    assert_eq!(reading.windows[0].pieces[8], ember);
    let reading = read(
        "(embedding:ember:1.5) embedding:EMBER.pt:0.5 embedding:nobody,",
        Compat::Comfy,
    );
    let window = &reading.windows[0];
    assert_eq!(window.pieces[0], ember);
    assert_eq!(window.pieces[3], ember);
    assert_eq!(window.weights[..6], [1.5, 1.5, 1.5, 0.5, 0.5, 0.5]);
    assert_eq!(reading.missing, ["nobody,"]);
    let bare = read("ember", Compat::Comfy);
    assert!(
        bare.windows[0]
            .pieces
            .iter()
            .all(|piece| piece.token().is_some())
    );
}

#[test]
fn e29_prompts_of_too_many_windows_are_refused() {
    let tokenizer = tiny();
    let text = "BREAK a ".repeat(1_000);
    let none = EmbeddingNames::default();
    let refused = windows(
        &runs(&text, Compat::A1111),
        &tokenizer,
        &none,
        Compat::A1111,
    );
    assert!(refused.unwrap_err().to_string().contains("windows"));
}

/// Text as prompts have it: mostly what means something.
fn prompt() -> impl Strategy<Value = String> {
    let mark = prop::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        ":",
        "|",
        "\\",
        "<",
        ">",
        ",",
        " ",
        "BREAK",
        " AND ",
        ":1.2)",
        ":9e9)",
        ":0.5]",
        ":3]",
        "lora:x",
        "embedding:",
        "a",
        "fox",
        "é",
        "狐",
        "\n",
        "-1",
        "<lora:a:b>",
    ]);
    let marks = prop::collection::vec(mark, 0..60).prop_map(|marks| marks.concat());
    prop_oneof![marks, any::<String>()]
}

proptest! {
    #[test]
    fn e29_no_text_breaks_the_parser(text in prompt(), steps in 1_u32..40) {
        let _ = network_tags(&text);
        for compat in COMPATS {
            let parsed = [parse(&text, compat), parse_negative(&text, compat)];
            for part in parsed.into_iter().flatten().flat_map(|prompt| prompt.subprompts) {
                prop_assert!(part.weight.abs() <= 100.0);
                for stage in [Stage::Base { steps }, Stage::Hires { base: 7, steps }] {
                    let texts = part.schedule.texts(stage);
                    prop_assert_eq!(texts.last().unwrap().until, steps);
                    prop_assert!(texts.windows(2).all(|w| w[0].until < w[1].until));
                    prop_assert!(texts.iter().all(|span| span.text.len() <= text.len()));
                }
            }
        }
    }

    #[test]
    fn e29_no_text_is_lost_and_no_weight_runs_away(text in prompt()) {
        for compat in COMPATS {
            let mut left = 0;
            for run in runs(&text, compat) {
                if let Run::Text { text, weight } = run {
                    left += text.chars().filter(|c| c.is_alphabetic()).count();
                    prop_assert!(weight.abs() <= 100.0);
                }
            }
            let breaks = if compat == Compat::A1111 { text.matches("BREAK").count() * 5 } else { 0 };
            let all = text.chars().filter(|c| c.is_alphabetic()).count();
            // A number with an exponent is a weight to ComfyUI.
            let exponents = text.matches(":9e9)").count();
            prop_assert!(left <= all && left + breaks + exponents >= all, "{} of {}", left, all);
        }
    }
}

#[test]
fn e29_windows_keep_every_token() {
    let tokenizer = tiny();
    let none = EmbeddingNames::default();
    let longest = "(fox:1.1), red sea ".repeat(limits::PROMPT_LEN_MAX / 19);
    for compat in [Compat::A1111, Compat::Comfy] {
        let runs = runs(&longest, compat);
        let reading = windows(&runs, &tokenizer, &none, compat).unwrap();
        let count: usize = reading
            .windows
            .iter()
            .map(|window| window.pieces.len())
            .sum();
        let mut all = 0;
        for run in &runs {
            if let Run::Text { text, .. } = run {
                all += tokenizer.ids(text).unwrap().len();
            }
        }
        assert_eq!(count, all);
        assert!(reading.windows.iter().all(|w| w.pieces.len() <= 75));
    }
}
