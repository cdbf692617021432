//! The plot: an SVG with a row for each section, times on the left and bytes on the right, all axes logarithmic.

use std::fmt::Write as _;

use crate::series::{Section, Series, Unit};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 430.0;
/// Of a panel, around its axes: left, top, right, bottom. The legend stands below.
const MARGINS: [f64; 4] = [64.0, 34.0, 16.0, 185.0];

const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: 600; font-size: 14px }
.grid { stroke: #8884; } .guide { stroke: #888; stroke-dasharray: 4 4 } .line { fill: none; stroke-width: 2 }
.c0 { stroke: #2266cc } .c1 { stroke: #d1511f } .c2 { stroke: #1a8f5a } .c3 { stroke: #8a4fbf } .c4 { stroke: #b08900 } .c5 { stroke: #5f6b7a } .c6 { stroke: #c2317a } .c7 { stroke: #11808f }
circle { stroke: none } .f0 { fill: #2266cc } .f1 { fill: #d1511f } .f2 { fill: #1a8f5a } .f3 { fill: #8a4fbf } .f4 { fill: #b08900 } .f5 { fill: #5f6b7a } .f6 { fill: #c2317a } .f7 { fill: #11808f }
@media (prefers-color-scheme: dark) {
text { fill: #ddd }
.c0 { stroke: #6ea8ff } .c1 { stroke: #ff9166 } .c2 { stroke: #4fd197 } .c3 { stroke: #c79bf2 } .c4 { stroke: #e6c34a } .c5 { stroke: #a9b4c2 } .c6 { stroke: #ff8fc0 } .c7 { stroke: #59d0df }
.f0 { fill: #6ea8ff } .f1 { fill: #ff9166 } .f2 { fill: #4fd197 } .f3 { fill: #c79bf2 } .f4 { fill: #e6c34a } .f5 { fill: #a9b4c2 } .f6 { fill: #ff8fc0 } .f7 { fill: #59d0df }
}";

/// All sections.
pub fn svg(sections: &[Section]) -> String {
    let (width, height) = (2.0 * WIDTH, HEIGHT * sections.len() as f64);
    let mut out = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\"><style>{STYLE}</style>\n");
    for (row, section) in sections.iter().enumerate() {
        for (column, (unit, label)) in [(Unit::Ms, "time"), (Unit::Bytes, "bytes")].into_iter().enumerate() {
            let series: Vec<&Series> = section.series.iter().filter(|series| series.figure.unit == unit).collect();
            let _ = writeln!(out, "<g transform=\"translate({} {})\">", WIDTH * column as f64, HEIGHT * row as f64);
            panel(&mut out, &format!("{}: {label}", section.title), section.size, unit, &series);
            out.push_str("</g>\n");
        }
    }
    out + "</svg>\n"
}

fn panel(out: &mut String, title: &str, size: &str, unit: Unit, series: &[&Series]) {
    let [left, top, right, bottom] = MARGINS;
    // Nothing has no place on a logarithmic axis.
    let shown = |series: &&Series| series.medians().into_iter().filter(|(_, value)| *value > 0.0).collect();
    let medians: Vec<Vec<(u64, f64)>> = series.iter().map(shown).collect();
    let points = || medians.iter().flatten();
    let decades = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value.log10()), high.max(value.log10())));
        (low.floor(), high.ceil().max(low.floor() + 1.0))
    };
    let (x_low, x_high) = decades(&mut points().map(|(size, _)| *size as f64));
    let (y_low, y_high) = decades(&mut points().map(|(_, value)| *value));
    let x = |log: f64| left + (log - x_low) / (x_high - x_low) * (WIDTH - left - right);
    let y = |log: f64| HEIGHT - bottom - (log - y_low) / (y_high - y_low) * (HEIGHT - top - bottom);

    let _ = writeln!(out, "<text class=\"title\" x=\"{left}\" y=\"20\">{title}</text>");
    for decade in x_low as i32..=x_high as i32 {
        let at = x(f64::from(decade));
        let _ = writeln!(out, "<line class=\"grid\" x1=\"{at}\" x2=\"{at}\" y1=\"{top}\" y2=\"{}\"/>", HEIGHT - bottom);
        let _ = writeln!(out, "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - bottom + 16.0, power(decade, ""));
    }
    for decade in y_low as i32..=y_high as i32 {
        let at = y(f64::from(decade));
        let _ = writeln!(out, "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\"/>", WIDTH - right);
        let label = match unit {
            Unit::Ms if decade >= 3 => power(decade - 3, "s"),
            Unit::Ms => power(decade, "ms"),
            Unit::Bytes | Unit::Frames => power(decade, "B"),
        };
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>", left - 6.0, at + 4.0);
    }
    // What proportional looks like, from the lower left corner.
    let reach = (x_high - x_low).min(y_high - y_low);
    let guide = [x(x_low), y(y_low), x(x_low + reach), y(y_low + reach)];
    let _ = writeln!(out, "<line class=\"guide\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>", guide[0], guide[1], guide[2], guide[3]);
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{size} (dashed: proportional)</text>",
        x((x_low + x_high) / 2.0),
        HEIGHT - bottom + 34.0
    );
    for (number, (series, medians)) in series.iter().zip(&medians).enumerate() {
        let at: Vec<(f64, f64)> = medians.iter().map(|(size, value)| (x((*size as f64).log10()), y(value.log10()))).collect();
        let line: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(out, "<polyline class=\"line c{number}\" points=\"{}\"/>", line.join(" "));
        for (x, y) in at {
            let _ = writeln!(out, "<circle class=\"f{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        }
        let below = HEIGHT - bottom + 54.0 + 16.0 * number as f64;
        let _ = writeln!(out, "<circle class=\"f{number}\" cx=\"{}\" cy=\"{}\" r=\"4\"/>", left + 4.0, below - 4.0);
        let legend = format!("{} (exponent {:.2})", series.figure.title, series.exponent());
        let _ = writeln!(out, "<text x=\"{}\" y=\"{below}\">{legend}</text>", left + 14.0);
    }
}

/// A power of ten, as people write it.
fn power(decade: i32, unit: &str) -> String {
    let number = match decade {
        ..0 => format!("{:.*}", decade.unsigned_abs() as usize, 10f64.powi(decade)),
        0..3 => format!("{}", 10i32.pow(decade.unsigned_abs())),
        3..6 => format!("{} k", 10i32.pow(decade.unsigned_abs() - 3)),
        6..9 => format!("{} M", 10i32.pow(decade.unsigned_abs() - 6)),
        _ => format!("{} G", 10i64.pow(decade.unsigned_abs() - 9)),
    };
    if unit.is_empty() || number.ends_with(char::is_alphabetic) { format!("{number}{unit}") } else { format!("{number} {unit}") }
}
