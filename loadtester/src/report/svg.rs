//! Line charts as SVG, drawn by hand: a page that is complete in itself needs no library.

use std::fmt::Write as _;

/// Size of a chart, and the room around its plot, in its own units.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 264.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;

/// From values to places.
pub(crate) struct Axis {
    least: f64,
    most: f64,
    log: bool,
    /// Values with their labels.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero (or `least`) to a round value above `most`.
    pub(crate) fn linear(least: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let span = (most - least).max(1e-9);
        let rough = span / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let count = (span / step).ceil() as usize;
        let ticks = (0..=count).map(|at| least + at as f64 * step).map(|value| (value, label(value))).collect();
        Self { least, most: least + count as f64 * step, log: false, ticks }
    }

    /// Time runs to its end, not to a round value.
    pub(crate) fn time(most: f64) -> Self {
        let mut axis = Self::linear(0.0, most, |value| format!("{value} s"));
        axis.most = most.max(1e-9);
        axis.ticks.retain(|(value, _)| *value <= most);
        axis
    }

    /// Powers of ten, with 2 and 5 between them where there is room.
    pub(crate) fn log(least: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let (low, high) = (least.max(1e-9), most.max(least * 1.01));
        let decades = (high.log10().ceil() - low.log10().floor()) as i32;
        let factors: &[f64] = if decades <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let first = low.log10().floor() as i32;
        let all: Vec<f64> = (first..=first + decades + 1)
            .flat_map(|power| factors.iter().map(move |f| f * 10_f64.powi(power)))
            .collect();
        // Down to the last tick below, up to the first one above.
        let from = all.iter().copied().filter(|value| *value <= low * 1.000_001).fold(all[0], f64::max);
        let to = all.iter().copied().find(|value| *value >= high).unwrap_or(high);
        let shown = all.into_iter().filter(|value| (from..=to).contains(value));
        Self { least: from, most: to, log: true, ticks: shown.map(|value| (value, label(value))).collect() }
    }

    /// With ticks of one's own.
    pub(crate) const fn log_with(least: f64, most: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { least, most, log: true, ticks }
    }

    /// 0 to 1 from its start to its end.
    fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.least).ln() - self.least.ln()) / (self.most.ln() - self.least.ln())
        } else {
            (value - self.least) / (self.most - self.least)
        };
        place.clamp(0.0, 1.0)
    }
}

/// A line.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// Class that colours it.
    pub(crate) class: &'static str,
    /// None: nothing was measured there, and the line has a gap.
    pub(crate) points: Vec<Option<(f64, f64)>>,
    /// The area below is coloured too.
    pub(crate) filled: bool,
    /// Text of what the pointer is on.
    pub(crate) label: fn(f64, f64) -> String,
}

/// A chart with its legend.
pub(crate) fn chart(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut out = format!("<figure><figcaption><b>{title}</b><span class=\"legend\">");
    for line in series {
        let _ = write!(out, "<i class=\"{}\"></i>{}", line.class, line.name); // writing to a string cannot fail
    }
    let _ =
        write!(out, "</span></figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">");
    let px = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
    let py = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
    for (value, label) in &y.ticks {
        let at = py(*value);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick y\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (value, label) in &x.ticks {
        let at = px(*value);
        let _ = write!(
            out,
            "<line class=\"tickmark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <text class=\"tick x\" x=\"{at:.1}\" y=\"{:.1}\">{label}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 5.0,
            HEIGHT - BOTTOM + 20.0
        );
    }
    for line in series {
        for piece in line.points.split(Option::is_none).filter(|piece| !piece.is_empty()) {
            draw(&mut out, line, &piece.iter().flatten().map(|(a, b)| (px(*a), py(*b))).collect::<Vec<_>>());
        }
        // What the pointer finds; thousands of them would make the page slow.
        let every = line.points.len().div_ceil(300).max(1);
        for (a, b) in line.points.iter().step_by(every).flatten() {
            let text = (line.label)(*a, *b);
            let _ = write!(
                out,
                "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"7\"><title>{}: {text}</title></circle>",
                line.class,
                px(*a),
                py(*b),
                line.name
            );
        }
    }
    out.push_str("</svg></figure>");
    out
}

fn draw(out: &mut String, line: &Series, points: &[(f64, f64)]) {
    let mut path = String::new();
    for (at, (a, b)) in points.iter().enumerate() {
        let _ = write!(path, "{}{a:.1} {b:.1}", if at == 0 { "M" } else { "L" }); // writing to a string cannot fail
    }
    if let ([(single_x, single_y)], class) = (points, line.class) {
        let _ = write!(out, "<circle class=\"dot {class}\" cx=\"{single_x:.1}\" cy=\"{single_y:.1}\" r=\"2\"/>"); // as above
        return;
    }
    if line.filled {
        let (first, last) = (points[0].0, points[points.len() - 1].0);
        let base = HEIGHT - BOTTOM;
        let _ = write!(out, "<path class=\"area {}\" d=\"{path}L{last:.1} {base}L{first:.1} {base}Z\"/>", line.class); // as above
    }
    let _ = write!(out, "<path class=\"line {}\" d=\"{path}\"/>", line.class); // as above
}
