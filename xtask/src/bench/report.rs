//! The tables: what was measured, and which budgets it meets.

use std::fmt::Write;

use serde::Serialize;

use super::{machine::Machine, series::Series};

/// One run.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) series: Vec<Row>,
    pub(super) budgets: Vec<Budget>,
    /// What was measured and is in no budget.
    pub(super) beside: Vec<String>,
    /// What could not be measured, each with the reason.
    pub(super) skipped: Vec<String>,
}

/// One series; times in microseconds.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    samples: usize,
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

impl From<&Series> for Row {
    fn from(series: &Series) -> Self {
        Self {
            name: series.name.clone(),
            samples: series.samples(),
            p50_us: series.percentile_us(50),
            p99_us: series.percentile_us(99),
            per_second: series.per_second(),
        }
    }
}

/// One promise and what became of it.
#[derive(Serialize)]
pub(super) struct Budget {
    what: String,
    measured: f64,
    bound: f64,
    unit: &'static str,
    met: bool,
}

impl Budget {
    /// A promise of at most `bound`.
    pub(super) fn at_most(what: String, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self {
            what,
            measured,
            bound,
            unit,
            met: measured <= bound,
        }
    }

    /// A promise of at least `bound`.
    pub(super) fn at_least(what: String, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self {
            met: measured >= bound,
            ..Self::at_most(what, measured, bound, unit)
        }
    }
}

impl Budget {
    pub(super) fn is_met(&self) -> bool {
        self.met
    }

    /// As a line.
    pub(super) fn text(&self) -> String {
        self.cells().join("  ")
    }

    fn cells(&self) -> [String; 4] {
        [
            self.what.clone(),
            format!("{:.2} {}", self.measured, self.unit),
            format!("{:.1} {}", self.bound, self.unit),
            if self.met { "met" } else { "MISSED" }.to_owned(),
        ]
    }
}

impl Report {
    pub(super) fn all_met(&self) -> bool {
        self.budgets.iter().all(|budget| budget.met)
    }

    pub(super) fn text(&self) -> String {
        let mut rows = vec![["", "p50 us", "p99 us", "a second", "samples"].map(str::to_owned)];
        rows.extend(self.series.iter().map(|row| {
            [
                row.name.clone(),
                format!("{:.1}", row.p50_us),
                format!("{:.1}", row.p99_us),
                format!("{:.0}", row.per_second),
                row.samples.to_string(),
            ]
        }));
        let mut text = format!("{}\n\n", self.machine.text());
        table(&mut text, &rows);
        text.push('\n');
        let mut rows = vec![["", "measured", "budget", ""].map(str::to_owned)];
        rows.extend(self.budgets.iter().map(Budget::cells));
        table(&mut text, &rows);
        for beside in &self.beside {
            // Writing to a string cannot fail.
            writeln!(text, "\nbeside: {beside}").unwrap_or_default();
        }
        for skipped in &self.skipped {
            // Writing to a string cannot fail.
            writeln!(text, "\nnot measured: {skipped}").unwrap_or_default();
        }
        text
    }
}

/// The first column to the left, the others to the right.
fn table<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (column, (width, cell)) in widths.iter().zip(row).enumerate() {
            let cell = if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, table};

    #[test]
    fn a_budget_is_met_up_to_its_very_value() {
        let most = |measured| Budget::at_most(String::new(), measured, 1.5, "x").met;
        assert!(most(1.5) && !most(1.51));
        let least = |measured| Budget::at_least(String::new(), measured, 4.0, "x").met;
        assert!(least(4.0) && !least(3.99));
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["", "us"], ["echo", "7"]].map(|row| row.map(str::to_owned));
        let mut text = String::new();
        table(&mut text, &rows);
        assert_eq!(text, "      us\necho   7\n");
    }
}
