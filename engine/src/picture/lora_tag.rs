//! Adapter tags in prompts: `<lora:name:weight>` and its longer forms, found and written.

use super::settings::LoraMention;

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

/// Takes the tags out of a prompt, each with one space that set it apart.
pub(super) fn extract(prompt: &str) -> (String, Vec<LoraMention>) {
    let mut text = String::with_capacity(prompt.len());
    let mut loras = Vec::new();
    let mut rest = prompt;
    while let Some(start) = rest.find('<') {
        let (before, tail) = rest.split_at(start);
        text.push_str(before);
        let found = tail
            .find('>')
            .and_then(|end| Some((end, parse(&tail[1..end])?)));
        let Some((end, lora)) = found else {
            text.push('<');
            rest = &tail[1..];
            continue;
        };
        loras.push(lora);
        rest = &tail[end + 1..];
        if text.ends_with(' ') {
            text.pop();
        } else if text.is_empty() {
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        }
    }
    text.push_str(rest);
    (text, loras)
}

/// Reads what is between the brackets: `lora:name[:te[:unet]]`, or `te=` and `unet=`.
fn parse(inside: &str) -> Option<LoraMention> {
    let (kind, arguments) = inside.split_once(':')?;
    if !matches!(kind.to_ascii_lowercase().as_str(), "lora" | "lyco") {
        return None;
    }
    let mut parts = arguments.split(':');
    let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
    let (mut text, mut unet) = (None, None);
    for (place, part) in parts.enumerate() {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
        match (part.split_once('='), place) {
            (Some(("te", value)), _) => text = Some(number(value)?),
            (Some(("unet", value)), _) => unet = Some(number(value)?),
            (Some(_), _) => {}
            (None, 0) => text = Some(number(part)?),
            (None, 1) => unet = Some(number(part)?),
            (None, _) => {}
        }
    }
    let text = text.unwrap_or(1.0);
    Some(LoraMention {
        name,
        hash: None,
        unet: unet.unwrap_or(text),
        text,
    })
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
