//! Tables that fit the terminal. Cells are broken between words.

use crate::terminal;
use pyroxene_common::clean;
use std::borrow::Cow;
use unicode_width::UnicodeWidthStr;

/// The gap between two columns.
const GAP: usize = 2;

/// A table, fitted to the terminal if standard output is one.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    fitted(headings, rows, terminal::columns())
}

/// A table. Each column is as wide as its widest cell; cells are cleaned, so each is one line. If the table
/// is wider than `limit`, its cells are broken between words. If that is not enough, each row is a block of
/// lines, one for each cell that is not empty.
fn fitted<const N: usize>(
    headings: [&str; N],
    rows: &[[String; N]],
    limit: Option<usize>,
) -> String {
    let rows: Vec<[Cow<'_, str>; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| clean::line(cell)))
        .collect();
    let mut widths = headings.map(str::width);
    let mut least = headings.map(longest_word);
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            if let (Some(width), Some(least)) = (widths.get_mut(column), least.get_mut(column)) {
                *width = (*width).max(cell.width());
                *least = (*least).max(longest_word(cell));
            }
        }
    }
    let limit = limit.unwrap_or(usize::MAX);
    if !shrink(&mut widths, &least, limit) {
        return blocks(headings, &rows, limit);
    }
    let mut text = String::new();
    let headings = headings.map(Cow::Borrowed);
    for row in std::iter::once(&headings).chain(&rows) {
        push_row(&mut text, &widths, row);
    }
    text
}

/// Narrows the columns that can be broken until the table is no wider than `limit`. Returns whether that
/// worked.
fn shrink<const N: usize>(widths: &mut [usize; N], least: &[usize; N], limit: usize) -> bool {
    let gaps = GAP * N.saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
    while excess > 0 {
        let widest = widths
            .iter_mut()
            .zip(least)
            .filter(|(width, least)| **width > **least)
            .max_by_key(|(width, least)| **width - **least);
        let Some((width, least)) = widest else {
            return false;
        };
        let step = excess.min((*width - least).div_ceil(2));
        *width -= step;
        excess -= step;
    }
    true
}

fn push_row<const N: usize>(text: &mut String, widths: &[usize; N], row: &[Cow<'_, str>; N]) {
    let mut cells: Vec<_> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| wrap(cell, *width).into_iter())
        .collect();
    let lines = cells.iter().map(ExactSizeIterator::len).max().unwrap_or(1);
    for _ in 0..lines {
        let mut line = String::new();
        for (cell, width) in cells.iter_mut().zip(widths) {
            let piece = cell.next().unwrap_or_default();
            let padding = (width + GAP).saturating_sub(piece.width());
            line.push_str(piece);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Each row as lines of heading and cell, with a blank line between rows.
fn blocks<const N: usize>(headings: [&str; N], rows: &[[Cow<'_, str>; N]], limit: usize) -> String {
    let indent = headings.iter().map(|heading| heading.width()).max();
    let indent = indent.unwrap_or(0) + GAP;
    let blocks: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut block = String::new();
            for (heading, cell) in headings
                .iter()
                .zip(row)
                .filter(|(_, cell)| !cell.is_empty())
            {
                let mut heading = *heading;
                for piece in wrap(cell, limit.saturating_sub(indent)) {
                    let padding = indent - heading.width();
                    block.push_str(heading);
                    block.extend(std::iter::repeat_n(' ', padding));
                    block.push_str(piece);
                    block.push('\n');
                    heading = "";
                }
            }
            block
        })
        .collect();
    blocks.join("\n")
}

/// Lines of a label and a value, with the values below each other. On a terminal they are broken between words,
/// and what is broken off stays in the values' column.
pub(crate) fn labelled(indent: &str, lines: &[(&str, String)]) -> String {
    labelled_within(indent, lines, terminal::columns())
}

fn labelled_within(indent: &str, lines: &[(&str, String)], limit: Option<usize>) -> String {
    let labels = lines.iter().map(|(label, _)| label.width());
    let column = indent.width() + labels.max().unwrap_or(0) + GAP;
    let width = limit.unwrap_or(usize::MAX).saturating_sub(column);
    let mut text = String::new();
    for (label, value) in lines {
        let mut start = format!("{indent}{label}");
        for piece in wrap(&clean::line(value), width) {
            let padding = column.saturating_sub(start.width());
            text.push_str(&start);
            text.extend(std::iter::repeat_n(' ', padding));
            text.push_str(piece);
            text.push('\n');
            start.clear();
        }
    }
    text
}

/// Breaks the lines of a text between words, so that none is wider than `limit` unless a single word is. What
/// is broken off is indented by `indent`.
pub(crate) fn wrapped(text: &str, limit: Option<usize>, indent: &str) -> String {
    let Some(limit) = limit else {
        return text.to_owned();
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut broken = String::new();
        for word in line.split_inclusive(' ') {
            let is_too_wide = broken.width() + word.trim_end().width() > limit;
            if is_too_wide && !broken.trim().is_empty() {
                lines.push(broken.trim_end().to_owned());
                broken = indent.to_owned();
            }
            broken.push_str(word);
        }
        lines.push(broken.trim_end().to_owned());
    }
    lines.join("\n")
}

/// Breaks a text into lines that are no wider than `width`, unless a single word is wider.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width {
        let mut end = 0;
        for word in words(rest) {
            let next = end + word.len();
            let fits = rest
                .get(..next)
                .is_some_and(|line| line.trim_end().width() <= width);
            if end > 0 && !fits {
                break;
            }
            end = next;
        }
        if end == rest.len() {
            break;
        }
        let (line, others) = rest.split_at(end);
        lines.push(line.trim_end());
        rest = others;
    }
    lines.push(rest);
    lines
}

/// The pieces between which a text may be broken: words with the blank or the comma after them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', ','])
}

fn longest_word(text: &str) -> usize {
    let widths = words(text).map(|word| word.trim_end().width());
    widths.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [row(["w1", "ready"]), row(["größer", ""])];
        let expected = "NAME    STATE\nw1      ready\ngrößer\n";
        assert_eq!(fitted(["NAME", "STATE"], &rows, None), expected);
        let wide = [row(["日本", "ready"])];
        let expected = "NAME  STATE\n日本  ready\n";
        assert_eq!(fitted(["NAME", "STATE"], &wide, None), expected);
    }

    #[test]
    fn a_cell_can_forge_neither_a_row_nor_a_colour() {
        let rows = [row(["w1\nw2", "\x1b[31mready"])];
        let expected = "NAME    STATE\nw1\\nw2  \\u{1b}[31mready\n";
        assert_eq!(fitted(["NAME", "STATE"], &rows, None), expected);
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(fitted(["A", "B"], &[], None), "A  B\n");
    }

    #[test]
    fn a_wide_table_is_broken_between_words() {
        let rows = [row(["w1", "calculator,text,hash", "one two three"])];
        let headings = ["NAME", "OBJECTS", "NOTE"];
        for width in 26..60 {
            let text = fitted(headings, &rows, Some(width));
            assert!(text.lines().all(|line| line.width() <= width), "{text}");
            assert!(text.starts_with("NAME  OBJECTS"), "{text}");
            for word in ["calculator", "text", "hash", "three"] {
                assert!(text.contains(word), "{text}");
            }
        }
    }

    #[test]
    fn a_table_that_cannot_be_broken_is_a_block_for_each_row() {
        let rows = [
            row(["w1", "127.0.0.1:12345", "one two three"]),
            row(["w2", "", "four"]),
        ];
        let text = fitted(["NAME", "ENDPOINT", "NOTE"], &rows, Some(25));
        let expected = "NAME      w1\nENDPOINT  127.0.0.1:12345\nNOTE      one two three\n\n\
                        NAME      w2\nNOTE      four\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn values_stay_in_their_column_and_what_cannot_be_broken_stays_whole() {
        let lines = [
            ("error", "one two three".to_owned()),
            ("sha256", "0123456789abcdef".to_owned()),
        ];
        let wide = "  error   one two three\n  sha256  0123456789abcdef\n";
        assert_eq!(labelled_within("  ", &lines, None), wide);
        let narrow = "  error   one two\n          three\n  sha256  0123456789abcdef\n";
        assert_eq!(labelled_within("  ", &lines, Some(18)), narrow);
    }

    #[test]
    fn lines_are_broken_between_words_and_the_rest_is_indented() {
        let text = "error: object 'a,b' is unavailable\n\nhint: none";
        let expected = "error:\n  object\n  'a,b' is\n  unavailable\n\nhint: none";
        assert_eq!(wrapped(text, Some(10), "  "), expected);
        assert_eq!(wrapped(text, None, "  "), text);
        assert_eq!(wrapped("  one two", Some(9), ""), "  one two");
        assert_eq!(wrapped("  one two", Some(8), "  "), "  one\n  two");
    }

    #[test]
    fn a_text_is_wrapped_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one", 7), ["one"]);
        assert_eq!(wrap("unbreakable word", 4), ["unbreakable", "word"]);
        assert_eq!(wrap("a,b,c", 2), ["a,", "b,", "c"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
