//! Tags that name adapters inside a prompt: `<lora:name:0.8>`, `<lora:name:te=0.5:unet=1>`.
//!
//! Finds them and takes them out of the text; who looks the name up is somebody else.

use thiserror::Error;

use super::clamp;

/// What a tag asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// A low-rank adapter of any kind: `lora`, or `lyco` as it was once called.
    Lora,
    /// A hypernetwork.
    Hypernet,
    /// A word that names no kind of network; A1111 drops such tags and says so.
    Other(String),
}

/// A tag as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkTag {
    /// What it asks for.
    pub kind: NetworkKind,
    /// The adapter's name: a file's stem, or the alias in its metadata.
    pub name: String,
    /// Weight in the text encoders; 1 unless said.
    pub text: f64,
    /// Weight in the UNet; as in the text encoders unless said.
    pub unet: f64,
}

/// Why a tag cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagError {
    /// A weight is no number.
    #[error("<{tag}>: the weight {value:?} is no number; write it like <lora:name:0.8>")]
    Weight {
        /// The tag's content.
        tag: String,
        /// What stands for the weight.
        value: String,
    },
}

/// Takes the tags `<kind:…>` out of a prompt: returns the text without them, and what they say, in
/// their order. Everything else, spaces around them included, stays as it was.
///
/// # Errors
/// [`TagError::Weight`] for the first adapter whose weight is no number.
pub fn network_tags(text: &str) -> Result<(String, Vec<NetworkTag>), TagError> {
    let mut rest = String::with_capacity(text.len());
    let mut tags = Vec::new();
    let mut tail = text;
    while let Some(at) = tail.find('<') {
        rest.push_str(&tail[..at]);
        tail = &tail[at..];
        match tag_at(tail) {
            Some((kind, items, len)) => {
                let tag = read(kind, items)?;
                let (text, unet) = (clamp(tag.text), clamp(tag.unet));
                tags.push(NetworkTag { text, unet, ..tag });
                tail = &tail[len..];
            }
            None => {
                rest.push('<');
                tail = &tail[1..];
            }
        }
    }
    rest.push_str(tail);
    Ok((rest, tags))
}

/// Returns kind, items and length of the tag that a text begins with: `<(\w+):([^>]+)>`.
pub(crate) fn tag_at(text: &str) -> Option<(&str, &str, usize)> {
    let inner = text.strip_prefix('<')?;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let colon = inner.find(|c| !is_word(c))?;
    let items = inner[colon..].strip_prefix(':').filter(|_| colon > 0)?;
    let end = items.find('>').filter(|end| *end > 0)?;
    Some((&inner[..colon], &items[..end], 1 + colon + 1 + end + 1))
}

/// Reads `name:te:unet`, where `te=` and `unet=` may stand anywhere behind the name.
pub(crate) fn read(kind: &str, items: &str) -> Result<NetworkTag, TagError> {
    let number = |value: &str| {
        let number = value.trim().parse().ok().filter(|n: &f64| n.is_finite());
        number.ok_or_else(|| TagError::Weight {
            tag: format!("{kind}:{items}"),
            value: value.to_owned(),
        })
    };
    let (mut places, mut te, mut unet) = (Vec::new(), None, None);
    for item in items.split(':') {
        match item.split_once('=').map(|(key, value)| (key.trim(), value)) {
            Some(("te", value)) => te = Some(number(value)?),
            Some(("unet", value)) => unet = Some(number(value)?),
            // `dyn=` limits a rank that is already fixed in our files.
            Some(_) => {}
            None => places.push(item),
        }
    }
    let kind = match kind {
        "lora" | "lyco" => NetworkKind::Lora,
        "hypernet" => NetworkKind::Hypernet,
        other => NetworkKind::Other(other.to_owned()),
    };
    let place = |i: usize| match (&kind, places.get(i)) {
        // What an unknown tag means by its items is unknown, too.
        (NetworkKind::Other(_), _) | (_, None) => Ok(None),
        (_, Some(value)) => number(value).map(Some),
    };
    let text = match te {
        Some(weight) => weight,
        None => place(1)?.unwrap_or(1.0),
    };
    let unet = match unet {
        Some(weight) => weight,
        None => place(2)?.unwrap_or(text),
    };
    Ok(NetworkTag {
        name: places.first().map_or("", |name| name.trim()).to_owned(),
        text,
        unet,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(name: &str, text: f64, unet: f64) -> NetworkTag {
        NetworkTag {
            kind: NetworkKind::Lora,
            name: name.to_owned(),
            text,
            unet,
        }
    }

    #[test]
    fn e21_tags_leave_the_text_and_name_adapters_with_weights() {
        let text = "a<lora:one> b <lora:two:0.8>, <lyco:three:.5:-1.25:4>c<lora:four:unet=2:te=0>";
        let (rest, tags) = network_tags(text).unwrap();
        assert_eq!(rest, "a b , c");
        let want = [
            lora("one", 1.0, 1.0),
            lora("two", 0.8, 0.8),
            lora("three", 0.5, -1.25),
            lora("four", 0.0, 2.0),
        ];
        assert_eq!(tags, want);
        let (rest, tags) = network_tags("<hypernet:h:0.4> x<fancy:1:2>").unwrap();
        assert_eq!(rest, " x");
        assert_eq!(tags[0].kind, NetworkKind::Hypernet);
        assert_eq!(tags[0].unet, 0.4);
        assert_eq!(tags[1].kind, NetworkKind::Other("fancy".to_owned()));
    }

    #[test]
    fn e21_what_is_no_tag_stays_text() {
        for text in [
            "<",
            "a < b > c",
            "<lora>",
            "<lora:>",
            "<:x>",
            "<lo ra:x>",
            "<lora:open",
            "<<",
        ] {
            assert_eq!(network_tags(text).unwrap(), (text.to_owned(), vec![]));
        }
        assert_eq!(network_tags("<<lora:x>>").unwrap().0, "<>");
    }

    #[test]
    fn e21_weight_that_is_no_number_is_refused_by_name() {
        for (text, value) in [
            ("<lora:x:much>", "much"),
            ("<lora:x:1:>", ""),
            ("<lora:x:te=nan>", "nan"),
        ] {
            let TagError::Weight { value: got, .. } = network_tags(text).unwrap_err();
            assert_eq!(got, value);
        }
    }
}
