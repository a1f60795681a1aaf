//! Text from files in messages: a name may hold control characters, and be of any length.

use core::fmt::{self, Display};

/// A name or a reader's words are cut in the middle above this number of characters.
const MOST_CHARACTERS: usize = 240;

/// How many items of each list a message names.
const MOST_ITEMS: usize = 10;

/// The text without control characters (`\u{1b}` in place of an escape), cut in the middle.
pub(crate) fn plain(text: impl Display) -> String {
    let text = text.to_string();
    let half = MOST_CHARACTERS / 2;
    let start_end = text.char_indices().nth(half).map(|(at, _)| at);
    let end_start = text.char_indices().rev().nth(half - 1).map(|(at, _)| at);
    match start_end.zip(end_start) {
        Some((start, end)) if start < end => {
            format!("{}…{}", escaped(&text[..start]), escaped(&text[end..]))
        }
        _ => escaped(&text),
    }
}

/// Control characters and other unprintable ones as Rust writes them; quotes and backslashes stay.
fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\'' | '\\' | '\n') {
            result.push(c);
        } else {
            result.extend(c.escape_debug());
        }
    }
    result
}

/// A list in a message, over several lines: its title with a count, ten items, and how many more
/// there are.
pub(crate) fn write_list<T: Display>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: &[T],
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "\n{title} ({}):", items.len())?;
    for item in items.iter().take(MOST_ITEMS) {
        write!(f, "\n  {item}")?;
    }
    if items.len() > MOST_ITEMS {
        write!(f, "\n  and {} more", items.len() - MOST_ITEMS)?;
    }
    Ok(())
}

/// A list in a message, on one line.
pub(crate) fn joined(items: &[String]) -> String {
    let mut text: Vec<String> = items.iter().take(MOST_ITEMS).map(plain).collect();
    if items.len() > MOST_ITEMS {
        text.push(format!("and {} more", items.len() - MOST_ITEMS));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_text_is_cut() {
        assert_eq!(plain("up.weight"), "up.weight");
        assert_eq!(plain("\u{1b}[2JX\r\u{202e}"), "\\u{1b}[2JX\\r\\u{202e}");
        assert_eq!(plain("it's \"é\""), "it's \"é\"");
        let long = format!("{}{}", "a".repeat(5_000_000), "é".repeat(200));
        let expected = format!("{}…{}", "a".repeat(120), "é".repeat(120));
        assert_eq!(plain(&long), expected);
        for length in [239, 240] {
            assert_eq!(plain("x".repeat(length)), "x".repeat(length));
        }
        assert_eq!(plain("x".repeat(241)).chars().count(), 241);
    }

    #[test]
    fn lists_on_one_line_are_cut() {
        let names: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        assert_eq!(joined(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more");
        assert_eq!(joined(&names[..2]), "0, 1");
    }
}
