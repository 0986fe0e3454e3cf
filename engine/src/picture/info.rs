//! What a picture's file tells of its making.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hearth_protocol::job::Compat;
use serde::Serialize;
use serde_json::Value;

use super::format::{DecodeError, FILE_LEN_MAX, Format, TEXT_LEN_MAX, TEXTS_MAX};
use super::recovered::{Oddity, Recovered, quote};
use super::source::Source;
use super::{a1111, comfy, draw_things, exif, fooocus, invoke, jpeg_file, loose_json, novelai};
use super::{png_file, webp_file, xmp};

/// Everything a file tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// What the file is.
    pub format: Format,
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// Whose text was understood.
    pub source: Source,
    /// IPTC's term for how the picture came about, if XMP says.
    pub digital_source: Option<String>,
    /// The job as far as it could be read back.
    pub request: Recovered,
    /// Hearth's own text, as JSON.
    pub hearth: Option<Value>,
    /// All texts, as they lie in the file.
    pub texts: Vec<Text>,
}

/// One text with the key it lies under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// PNG's keyword, EXIF's name, `XMP` or `comment`.
    pub key: String,
    /// The text.
    pub text: String,
}

impl fmt::Display for Info {
    /// A summary for people: format and size, the source, then one setting a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {}, {}x{}",
            "file", self.format, self.width, self.height
        )?;
        writeln!(f, "{:<10} {}", "made by", self.source)?;
        self.request.fmt(f)
    }
}

/// Reads what a file tells, without its pixels.
///
/// # Errors
/// [`DecodeError`] when the file cannot be read, is no picture, or lies about its parts.
pub fn info(path: &Path) -> Result<Info, DecodeError> {
    let failed = |source| DecodeError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // A pipe has no length to ask for.
    file.take(FILE_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    info_of(&bytes)
}

/// Reads what a file's bytes tell, without its pixels.
///
/// # Errors
/// As [`info`].
pub fn info_of(bytes: &[u8]) -> Result<Info, DecodeError> {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if len > FILE_LEN_MAX {
        return Err(DecodeError::FileLength { len });
    }
    let format = Format::of(bytes).ok_or(DecodeError::Format)?;
    let mut texts = Texts::default();
    let (width, height) = match format {
        Format::Png => texts.png(bytes)?,
        Format::Jpeg => texts.jpeg(bytes)?,
        Format::Webp => texts.webp(bytes)?,
    };
    super::format::check_size(width, height)?;
    let (source, mut request) = texts.understand();
    for part in &texts.damaged {
        let part = quote(part);
        request.warn(Oddity::Damaged { part });
    }
    let hearth = texts
        .get("hearth")
        .and_then(|text| serde_json::from_str(text).ok());
    let packet = texts.get("XMP");
    let digital_source =
        packet.and_then(|packet| xmp::property(packet, "Iptc4xmpExt:DigitalSourceType"));
    Ok(Info {
        format,
        width,
        height,
        source,
        digital_source,
        request,
        hearth,
        texts: texts.list,
    })
}

#[derive(Default)]
struct Texts {
    list: Vec<Text>,
    damaged: Vec<String>,
}

impl Texts {
    fn get(&self, key: &str) -> Option<&str> {
        let found = self.list.iter().find(|text| text.key == key);
        found.map(|text| text.text.as_str())
    }

    fn push(&mut self, key: &str, text: String) {
        if self.list.len() < TEXTS_MAX && !text.is_empty() && text.len() <= TEXT_LEN_MAX {
            self.list.push(Text {
                key: key.to_owned(),
                text,
            });
        }
    }

    fn png(&mut self, bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
        let facts = png_file::read(bytes)?;
        self.damaged = facts.damaged;
        for (keyword, text) in facts.texts {
            if keyword == png_file::XMP_KEYWORD {
                self.xmp(text);
            } else {
                self.push(&keyword, text);
            }
        }
        if let Some(exif) = facts.exif {
            self.exif(exif);
        }
        Ok(facts.size)
    }

    fn jpeg(&mut self, bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
        let facts = jpeg_file::read(bytes)?;
        if let Some(exif) = facts.exif {
            self.exif(exif);
        }
        if let Some(packet) = facts.xmp {
            self.xmp(String::from_utf8_lossy(packet).into_owned());
        }
        for comment in facts.comments {
            self.push("comment", String::from_utf8_lossy(comment).into_owned());
        }
        Ok(facts.size)
    }

    fn webp(&mut self, bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
        let facts = webp_file::read(bytes)?;
        if let Some(exif) = facts.exif {
            self.exif(exif);
        }
        if let Some(packet) = facts.xmp {
            self.xmp(String::from_utf8_lossy(packet).into_owned());
        }
        Ok(facts.size)
    }

    fn exif(&mut self, bytes: &[u8]) {
        for (name, text) in exif::read(bytes).texts {
            // ComfyUI's WebP: camera fields that hold `prompt:{...}` and `workflow:{...}`.
            match text.split_once(':') {
                Some((key @ ("prompt" | "workflow"), json)) if json.starts_with('{') => {
                    self.push(key, json.to_owned());
                }
                Some(_) | None => self.push(name, text),
            }
        }
    }

    /// Keeps the packet, and texts of other programs inside it.
    fn xmp(&mut self, packet: String) {
        if let Some(story) = xmp::property(&packet, xmp::STORY) {
            self.push("hearth", story);
        }
        if let Some(comment) = xmp::property(&packet, "exif:UserComment") {
            self.push("UserComment", comment);
        }
        self.push("XMP", packet);
    }

    /// Finds the one text that says most, in the order of what is surest.
    fn understand(&self) -> (Source, Recovered) {
        let comment = self.get("UserComment").or_else(|| self.get("comment"));
        let from_parameters = || parameters(self.get("parameters")?);
        let from_comment = || foreign(comment?).or_else(|| parameters(comment?));
        let from_invoke = || found(Source::Invoke, invoke::read(self.get("invokeai_metadata")?));
        let from_comfy = || found(Source::Comfy, comfy::read(self.get("prompt")?));
        let from_old = || found(Source::Invoke, invoke::read_old(self.get("sd-metadata")?));
        let from_dream = || found(Source::Invoke, invoke::read_dream(self.get("Dream")?));
        let (source, mut request) = from_parameters()
            .or_else(|| self.novelai())
            .or_else(from_invoke)
            .or_else(from_comfy)
            .or_else(from_old)
            .or_else(from_dream)
            .or_else(from_comment)
            .unwrap_or_else(|| (Source::None, Recovered::default()));
        if let Some(story) = self.get("hearth") {
            exact_prompts(&mut request, story);
            return (Source::Hearth, request);
        }
        let usual = match source {
            Source::A1111 | Source::NovelAi | Source::Fooocus => Some(Compat::A1111),
            Source::Invoke => Some(Compat::Diffusers),
            Source::Hearth | Source::Comfy | Source::DrawThings | Source::None => None,
        };
        request.compat = request.compat.or(usual);
        (source, request)
    }

    fn novelai(&self) -> Option<(Source, Recovered)> {
        if self.get("Software") != Some("NovelAI") {
            return None;
        }
        let description = self.get("Description").unwrap_or_default();
        let comment = self.get("Comment")?;
        let recovered = novelai::read(comment, description, self.get("Source"));
        found(Source::NovelAi, recovered)
    }
}

fn found(source: Source, recovered: Option<Recovered>) -> Option<(Source, Recovered)> {
    Some((source, recovered?))
}

/// Reads `parameters`: Fooocus' JSON, or A1111's lines.
fn parameters(text: &str) -> Option<(Source, Recovered)> {
    if let Some(recovered) = fooocus::read(text) {
        return Some((Source::Fooocus, recovered));
    }
    // Other JSON is nobody's we know.
    let is_json = loose_json::object(text).is_some();
    (!is_json && !text.trim().is_empty()).then(|| (Source::A1111, a1111::read(text)))
}

/// Reads JSON in a user comment.
fn foreign(comment: &str) -> Option<(Source, Recovered)> {
    let map = loose_json::object(comment)?;
    if draw_things::is(&map) {
        return found(Source::DrawThings, draw_things::read(comment));
    }
    if let Some(json) = map.get("prompt").and_then(Value::as_str) {
        return found(Source::Comfy, comfy::read(json));
    }
    // NovelAI's WebP holds its PNG's texts as one object.
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    let description = text("Description").unwrap_or_default();
    found(
        Source::NovelAi,
        novelai::read(text("Comment")?, description, text("Source")),
    )
}

/// Takes the prompts from Hearth's own text, which holds them to the letter.
fn exact_prompts(request: &mut Recovered, story: &str) {
    let Some(map) = loose_json::object(story) else {
        return request.malformed("hearth", story, "a JSON object");
    };
    let Some(spec) = map.get("spec") else { return };
    if let Some(prompt) = spec.get("prompt").and_then(Value::as_str) {
        request.settings.prompt = prompt.to_owned();
    }
    if let Some(negative) = spec.get("negative").and_then(Value::as_str) {
        request.settings.negative = negative.to_owned();
    }
    let compat = spec.get("compat").and_then(Value::as_str);
    request.compat = compat.and_then(|name| name.parse().ok());
}
