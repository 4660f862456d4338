//! Single figures with their targets: the results of benchmarks that compare with a target instead of
//! with other systems.

use anyhow::Result;
use serde::Serialize;

use crate::table::{TextTable, figure};

/// A measured figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The name of the measured quantity.
    measure: String,
    value: f64,
    unit: &'static str,
    #[serde(flatten)]
    target: Option<FigureTarget>,
    /// Whether the target is reached. None without a target.
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
    /// The values over time that the figure sums up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<f64>,
}

/// The figures of a benchmark so far.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    /// Adds a figure, and shows it as progress.
    pub(crate) fn add(&mut self, figure: Figure) {
        eprintln!("{}", figure.progress_line());
        self.0.push(figure);
    }

    /// Prints all of them: a table, or a JSON array.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        print(&self.0, json)
    }
}

/// The bound that a figure should keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FigureTarget {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    /// A figure without a target.
    pub(crate) fn new(measure: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            measure: measure.into(),
            value,
            unit,
            target: None,
            met: None,
            series: Vec::new(),
        }
    }

    /// Sets the target.
    #[must_use]
    pub(crate) fn target(mut self, target: FigureTarget) -> Self {
        self.target = Some(target);
        self.met = Some(match target {
            FigureTarget::AtMost(most) => self.value <= most,
            FigureTarget::AtLeast(least) => self.value >= least,
        });
        self
    }

    /// Sets the values over time that the figure sums up.
    #[must_use]
    pub(crate) fn series(mut self, series: Vec<f64>) -> Self {
        self.series = series;
        self
    }

    /// The figure as one line of progress output.
    pub(crate) fn progress_line(&self) -> String {
        let Self {
            measure,
            value,
            unit,
            ..
        } = self;
        format!("{measure}: {} {unit}", figure(*value))
    }

    fn row(&self) -> Vec<String> {
        let mut row = vec![self.measure.clone(), figure(self.value), self.unit.into()];
        row.push(match self.target {
            Some(FigureTarget::AtMost(most)) => format!("≤ {}", figure(most)),
            Some(FigureTarget::AtLeast(least)) => format!("≥ {}", figure(least)),
            None => String::new(),
        });
        row.push(match self.met {
            Some(true) => "yes".to_owned(),
            Some(false) => "NO".to_owned(),
            None => String::new(),
        });
        row
    }
}

/// Prints figures on standard output: a table, or a JSON array.
pub(crate) fn print(figures: &[Figure], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(figures)?);
        return Ok(());
    }
    let mut table = TextTable::new(["what", "measured", "unit", "target", "met"]);
    for figure in figures {
        table.push(figure.row());
    }
    print!("{table}");
    for Figure {
        measure, series, ..
    } in figures.iter().filter(|figure| !figure.series.is_empty())
    {
        let values: Vec<_> = series.iter().map(|value| format!("{value:.0}")).collect();
        println!("{measure}, over time: {}", values.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_the_target_only_where_there_is_one() {
        let json = |figure: Figure| serde_json::to_string(&figure).unwrap();
        let plain = Figure::new("a", 1.0, "ms");
        assert_eq!(
            json(plain.clone()),
            r#"{"measure":"a","value":1.0,"unit":"ms"}"#
        );
        assert_eq!(
            json(plain.target(FigureTarget::AtMost(2.0)).series(vec![1.0])),
            r#"{"measure":"a","value":1.0,"unit":"ms","at_most":2.0,"met":true,"series":[1.0]}"#
        );
    }

    #[test]
    fn a_missed_target_stands_out() {
        let row = Figure::new("a", 1.0, "ms")
            .target(FigureTarget::AtLeast(2.0))
            .row();
        assert_eq!(row, ["a", "1.0", "ms", "≥ 2.0", "NO"]);
    }
}
