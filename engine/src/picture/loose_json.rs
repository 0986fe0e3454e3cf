//! JSON as other programs write it into pictures: with `NaN` and `Infinity`, which Python's writer
//! makes, and numbers that may be texts.

use serde_json::{Map, Value};

/// Reads a JSON object; numbers that JSON does not have become `null`.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim().trim_end_matches('\0');
    if !text.starts_with('{') {
        return None;
    }
    let value = serde_json::from_str(text).or_else(|_| serde_json::from_str(&finite(text)));
    match value {
        Ok(Value::Object(map)) => Some(map),
        Ok(_) | Err(_) => None,
    }
}

/// Replaces `NaN`, `Infinity` and `-Infinity` outside of strings.
fn finite(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let odd = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|odd| rest.starts_with(odd));
        if let Some(odd) = odd {
            out.push_str("null");
            rest = &rest[odd.len()..];
            continue;
        }
        let len = if c == '"' {
            string_len(rest)
        } else {
            c.len_utf8()
        };
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out
}

/// Returns the length of the string a text begins with, quotes included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns a text, or a number as one.
pub(super) fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns a number, also from a text.
pub(super) fn decimal(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
    .filter(|number| number.is_finite())
}

/// Returns a whole number that is not negative, also from a text or a float without a fraction.
pub(super) fn whole(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64().or_else(|| from_float(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As [`whole`], for counts and sides.
pub(super) fn small(value: Option<&Value>) -> Option<u32> {
    whole(value).and_then(|number| u32::try_from(number).ok())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "only whole numbers that f64 holds exactly are taken"
)]
fn from_float(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_numbers_are_survived() {
        let map =
            object("{\"a\": [NaN, -Infinity, \"NaN \\\" Infinity\"], \"b\": 3.0, \"c\": \"7\"}");
        let map = map.unwrap();
        assert_eq!(map["a"].to_string(), r#"[null,null,"NaN \" Infinity"]"#);
        assert_eq!(whole(map.get("b")), Some(3));
        assert_eq!(whole(map.get("c")), Some(7));
        assert_eq!(decimal(map.get("c")), Some(7.0));
        assert!(object("[1]").is_none());
        assert!(object("{\"a\": \"").is_none());
    }
}
