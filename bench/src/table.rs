//! Tables of figures as aligned text, and the format of the figures.

use std::fmt;

/// Rows under a header. The first column is aligned to the left, all others to the right.
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with a header and no rows.
    pub(crate) fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self {
            rows: vec![header.into_iter().map(Into::into).collect()],
        }
    }

    /// Appends a row. A row shorter than the header leaves the cells at the end empty.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    line.push_str(&format!("{cell:<width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A figure with one decimal below 1000, and with none from 1000 on.
pub(crate) fn figure(value: f64) -> String {
    if value < 1000.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// `value` divided by `baseline`, with two decimals.
pub(crate) fn ratio(value: f64, baseline: f64) -> String {
    format!("{:.2}", value / baseline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_their_widest_cell() {
        let mut table = TextTable::new(["system", "p50 µs"]);
        table.push(vec!["raw".into(), "1234567.0".into()]);
        table.push(vec!["pyroxene".into(), "2.0".into()]);
        assert_eq!(
            table.to_string(),
            "system       p50 µs\n\
             raw       1234567.0\n\
             pyroxene        2.0\n"
        );
    }

    #[test]
    fn a_short_row_leaves_no_space_at_its_end() {
        let mut table = TextTable::new(["a", "b"]);
        table.push(vec!["x".into(), String::new()]);
        table.push(vec!["y".into()]);
        assert_eq!(table.to_string(), "a  b\nx\ny\n");
    }

    #[test]
    fn figures_lose_their_decimal_where_it_says_nothing() {
        assert_eq!(figure(27.46), "27.5");
        assert_eq!(figure(36342.4), "36342");
    }

    #[test]
    fn a_ratio_has_two_decimals() {
        assert_eq!(ratio(3.0, 2.0), "1.50");
    }
}
