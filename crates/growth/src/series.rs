//! Figures by what they grow with, and how fast they do.

use serde_json::{Value, json};

/// What is claimed of a figure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It does not depend on the size.
    Flat,
    /// It grows no faster than the size.
    Linear,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Ms,
    Bytes,
    Frames,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Ms => "ms",
            Unit::Bytes => "bytes",
            Unit::Frames => "frames",
        }
    }
}

/// What a figure is.
#[derive(Clone, Copy)]
pub struct Figure {
    pub title: &'static str,
    pub unit: Unit,
    pub claim: Claim,
}

/// A figure at each size: the values of all rounds.
pub struct Series {
    pub figure: Figure,
    pub points: Vec<(u64, Vec<f64>)>,
}

/// Exponents measured on a busy machine are not exact, and indexes cost a logarithm.
const TOLERANCE: f64 = 0.2;

impl Series {
    /// Sizes and medians.
    pub fn medians(&self) -> Vec<(u64, f64)> {
        let median = |values: &[f64]| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        self.points.iter().map(|(size, values)| (*size, median(values))).collect()
    }

    /// How it grows at the end: the slope between the last two points where both axes are logarithmic.
    pub fn exponent(&self) -> f64 {
        let medians = self.medians();
        let [.., (size_before, before), (size, last)] = medians[..] else { return 0.0 };
        // Nothing that stays nothing does not grow.
        if last <= 0.0 || before <= 0.0 { 0.0 } else { (last / before).ln() / (size as f64 / size_before as f64).ln() }
    }

    pub fn holds(&self) -> bool {
        let claimed = if self.figure.claim == Claim::Flat { 0.0 } else { 1.0 };
        self.exponent() <= claimed + TOLERANCE
    }

    pub fn verdict(&self) -> &'static str {
        match (self.figure.claim, self.holds()) {
            (Claim::Flat, true) => "does not grow",
            (Claim::Flat, false) => "**grows, and should not**",
            (Claim::Linear, true) => "not superlinear",
            (Claim::Linear, false) => "**superlinear**",
        }
    }
}

/// Figures that grow with the same thing.
pub struct Section {
    pub title: &'static str,
    /// What the sizes count.
    pub size: &'static str,
    /// How it was measured.
    pub note: &'static str,
    pub series: Vec<Series>,
}

impl Section {
    pub fn new(title: &'static str, size: &'static str, note: &'static str) -> Section {
        Section { title, size, note, series: Vec::new() }
    }

    pub fn record(&mut self, figure: Figure, size: u64, value: f64) {
        let place = self.series.iter().position(|series| series.figure.title == figure.title).unwrap_or_else(|| {
            self.series.push(Series { figure, points: Vec::new() });
            self.series.len() - 1
        });
        let points = &mut self.series[place].points;
        match points.last_mut() {
            Some((last, values)) if *last == size => values.push(value),
            _ => points.push((size, vec![value])),
        }
    }

    pub fn markdown(&self) -> String {
        let sizes = self.series[0].medians();
        let head = sizes.iter().map(|(size, _)| thousands(*size as f64)).collect::<Vec<_>>().join(" | ");
        let mut text = format!("## {}\n\n{}\n\n| {} | {head} | exponent | |\n", self.title, self.note, self.size);
        text += &format!("|---|{}---|---|\n", "---:|".repeat(sizes.len()));
        for series in &self.series {
            let cells: Vec<String> = series.medians().iter().map(|(_, value)| thousands(*value)).collect();
            let Figure { title, unit, .. } = series.figure;
            text += &format!("| {title}, {} | {} | {:.2} | {} |\n", unit.name(), cells.join(" | "), series.exponent(), series.verdict());
        }
        text
    }

    pub fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            let points = series.points.iter().zip(series.medians());
            json!({
                "title": series.figure.title,
                "unit": series.figure.unit.name(),
                "claim": if series.figure.claim == Claim::Flat { "flat" } else { "linear" },
                "exponent": series.exponent(),
                "holds": series.holds(),
                "points": points.map(|((size, rounds), (_, median))| json!({ "size": size, "median": median, "rounds": rounds })).collect::<Vec<_>>(),
            })
        });
        json!({ "title": self.title, "size": self.size, "series": series.collect::<Vec<_>>() })
    }
}

/// A number as people read it: three digits that matter, whole where it is large.
pub fn thousands(value: f64) -> String {
    if value < 100.0 {
        let digits = if value < 1.0 {
            3
        } else if value < 10.0 {
            2
        } else {
            1
        };
        let text = format!("{value:.digits$}");
        return if value.fract() == 0.0 { format!("{value:.0}") } else { text };
    }
    let digits = format!("{value:.0}");
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}
