//! XMP: the note that a picture is made by a model, and the texts other programs put there.
//!
//! Reading looks for single properties by name; it is no XML parser and follows nothing.

/// IPTC's term for pictures made by trained models.
pub(super) const TRAINED: &str =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
/// Property of [`packet`] that holds the `hearth` text.
pub(super) const STORY: &str = "hearth:story";

/// Returns a packet that says who made the picture and how; `story` goes in where the format has
/// no other place for it.
pub(super) fn packet(creator: &str, story: Option<&str>) -> String {
    let creator = escape(creator);
    let story = story.map_or_else(String::new, |story| {
        format!("\n   <{STORY}>{}</{STORY}>", escape(story))
    });
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n\
         \x20<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n\
         \x20 <rdf:Description rdf:about=\"\"\n\
         \x20   xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n\
         \x20   xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n\
         \x20   xmlns:hearth=\"urn:hearth:picture#\">\n\
         \x20  <xmp:CreatorTool>{creator}</xmp:CreatorTool>\n\
         \x20  <Iptc4xmpExt:DigitalSourceType>{TRAINED}</Iptc4xmpExt:DigitalSourceType>{story}\n\
         \x20 </rdf:Description>\n\
         \x20</rdf:RDF>\n\
         </x:xmpmeta>\n\
         <?xpacket end=\"r\"?>"
    )
}

/// Finds a property, written as an element or as an attribute, and returns its text. Of a list
/// the first entry counts.
pub(super) fn property(xml: &str, name: &str) -> Option<String> {
    element(xml, name).or_else(|| attribute(xml, name))
}

fn element(xml: &str, name: &str) -> Option<String> {
    let open = format!("<{name}");
    let mut rest = xml;
    let inner = loop {
        let at = rest.find(&open)?;
        rest = &rest[at + open.len()..];
        // `<dc:title` also begins `<dc:titles`.
        if rest.starts_with(['>', ' ', '\n', '\t', '\r']) {
            let inner = &rest[rest.find('>')? + 1..];
            break inner.split_once(&format!("</{name}>"))?.0;
        }
    };
    let Some(list) = inner.find("<rdf:li") else {
        return Some(unescape(inner));
    };
    let item = &inner[list..];
    let item = &item[item.find('>')? + 1..];
    Some(unescape(item.split_once("</rdf:li>")?.0))
}

fn attribute(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!("{name}=\""))? + name.len() + 2;
    Some(unescape(xml[start..].split_once('"')?.0))
}

/// Escapes for an element's text. Controls that XML cannot hold become spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\t' => escaped.push(c),
            // A bare carriage return would be read as a line feed.
            '\r' => escaped.push_str("&#13;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            c if c < ' ' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest entity is `&#x10FFFF;`.
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let found = end.and_then(|end| Some((end, entity(&rest[1..end])?)));
        match found {
            Some((end, c)) => {
                plain.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_gives_back_what_went_in() {
        let story = "{\"prompt\":\"a <b> & 'c' &amp; \r\n猫\"}";
        let packet = packet("Hearth 1 & <2>", Some(story));
        assert_eq!(property(&packet, STORY).as_deref(), Some(story));
        let creator = property(&packet, "xmp:CreatorTool");
        assert_eq!(creator.as_deref(), Some("Hearth 1 & <2>"));
        let kind = property(&packet, "Iptc4xmpExt:DigitalSourceType");
        assert_eq!(kind.as_deref(), Some(TRAINED));
    }

    #[test]
    fn lists_and_attributes_are_read() {
        let xml = r#"<rdf:Description xmp:CreatorTool="A &quot;B&quot;"><exif:UserComment>
            <rdf:Alt><rdf:li xml:lang="x-default">{&#34;c&#x22;:1}</rdf:li></rdf:Alt>
            </exif:UserComment></rdf:Description>"#;
        assert_eq!(property(xml, "xmp:CreatorTool").as_deref(), Some("A \"B\""));
        assert_eq!(
            property(xml, "exif:UserComment").as_deref(),
            Some("{\"c\":1}")
        );
        assert_eq!(property(xml, "exif:User"), None);
    }

    #[test]
    fn broken_entities_stay_as_they_are() {
        for text in [
            "&",
            "&;",
            "&nonsense;",
            "a & b; c",
            "&#xD800;",
            "&#99999999;",
            "&ü",
        ] {
            assert_eq!(unescape(text), text);
        }
    }
}
