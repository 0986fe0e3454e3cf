//! Adapter tags in prompts: `<lora:name:weight>` and its longer forms, found and written.

use super::settings::LoraMention;
use crate::prompt::network::{self, NetworkKind};

/// Writes the tag of an adapter: one weight where both are the same, else text encoder then UNet.
pub(super) fn tag(lora: &LoraMention) -> String {
    let name = plain_name(&lora.name);
    if lora.unet == lora.text {
        format!("<lora:{name}:{}>", lora.unet)
    } else {
        format!("<lora:{name}:{}:{}>", lora.text, lora.unet)
    }
}

/// Returns a name without what tags and hash lists are cut at.
pub(super) fn plain_name(name: &str) -> String {
    let separates = |c: char| matches!(c, ':' | ',' | '<' | '>' | '"' | '\\') || c.is_control();
    name.chars()
        .map(|c| if separates(c) { '_' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Takes the tags out of a prompt, each with one space that set it apart. What cannot be understood
/// stays: the text tells what was done, it asks for nothing.
pub(super) fn extract(prompt: &str) -> (String, Vec<LoraMention>) {
    let mut text = String::with_capacity(prompt.len());
    let mut loras = Vec::new();
    let mut rest = prompt;
    while let Some(start) = rest.find('<') {
        let (before, tail) = rest.split_at(start);
        text.push_str(before);
        let Some((lora, len)) = mention(tail) else {
            text.push('<');
            rest = &tail[1..];
            continue;
        };
        loras.push(lora);
        rest = &tail[len..];
        if text.ends_with(' ') {
            text.pop();
        } else if text.is_empty() {
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        }
    }
    text.push_str(rest);
    (text, loras)
}

/// Returns the adapter whose tag a text begins with, and the tag's length.
fn mention(text: &str) -> Option<(LoraMention, usize)> {
    // No name holds a bracket; without this bound a text of brackets would be read again for each.
    let end = 1 + text[1..].find(['<', '>'])?;
    let (kind, items, len) = network::tag_at(text.get(..=end)?)?;
    let tag = network::read(&kind.to_ascii_lowercase(), items).ok()?;
    let is_adapter = tag.kind == NetworkKind::Lora && !tag.name.is_empty();
    let lora = LoraMention {
        name: tag.name,
        hash: None,
        unet: tag.unet,
        text: tag.text,
    };
    is_adapter.then_some((lora, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(name: &str, text: f64, unet: f64) -> LoraMention {
        LoraMention {
            name: name.to_owned(),
            hash: None,
            unet,
            text,
        }
    }

    #[test]
    fn tags_leave_the_prompt_with_their_weights() {
        let (text, loras) = extract(
            "<lora:a:0.5> one <lora:b:0.25:1>, <lyco:c> two <lora:d:te=0.1:unet=0.2:dyn=4>",
        );
        assert_eq!(text, "one, two");
        let expected = [
            lora("a", 0.5, 0.5),
            lora("b", 0.25, 1.0),
            lora("c", 1.0, 1.0),
            lora("d", 0.1, 0.2),
        ];
        assert_eq!(loras, expected);
    }

    #[test]
    fn what_is_no_tag_stays() {
        for text in [
            "a < b > c",
            "<hypernet:x:1>",
            "<lora:x:y>",
            "<lora:",
            "<",
            "a <3",
        ] {
            assert_eq!(extract(text), (text.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn names_cannot_break_a_tag() {
        let odd = lora("a:b,c>\n", 1.0, 1.0);
        assert_eq!(tag(&odd), "<lora:a_b_c__:1>");
    }
}
