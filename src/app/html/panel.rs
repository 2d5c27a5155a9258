//! The frame of a chart: a drawing that stretches with the page, and names of ticks that don't.
//!
//! A drawing is [`PLACES`] units wide and as many high as the chart has pixels. Lines and dots keep their width however far it is
//! stretched (`vector-effect`), and names of ticks are HTML, so that a chart is as readable on a phone as on a wall.

use std::fmt::Write;

use super::scale::Scale;
use super::text::escape;
use super::thin::PLACES;

/// A chart in the making.
#[derive(Debug)]
pub struct Panel {
    height: usize,
    marks: String,
    x_ticks: Vec<(f64, String)>,
    y_ticks: Vec<(f64, String)>,
}

impl Panel {
    /// An empty chart of so many pixels' height.
    pub fn new(height: usize, x_ticks: Vec<(f64, String)>, y_ticks: Vec<(f64, String)>) -> Self {
        let mut panel = Self { height, marks: String::new(), x_ticks, y_ticks };
        let across = panel.y_ticks.iter().map(|(y, _)| format!("M0 {:.1}H{PLACES}", panel.y(*y))).collect::<String>();
        let along = panel.x_ticks.iter().map(|(x, _)| format!("M{:.1} 0V{height}", Self::x(*x))).collect::<String>();
        write!(panel.marks, "<path class=\"grid\" d=\"{across}{along}\"/>").expect("a string takes what is written");
        panel
    }

    fn x(place: f64) -> f64 {
        place * PLACES as f64
    }

    fn y(&self, place: f64) -> f64 {
        (1.0 - place) * self.height as f64
    }

    /// Pixels of the chart's height.
    pub fn height(&self) -> usize {
        self.height
    }

    /// A line through points in 0..=1; what isn't finite interrupts it.
    pub fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let (mut path, mut pen) = (String::new(), 'M');
        for (x, y) in points {
            if x.is_finite() && y.is_finite() {
                write!(path, "{pen}{:.1} {:.1}", Self::x(x), self.y(y)).expect("a string takes what is written");
                pen = 'L';
            } else {
                pen = 'M';
            }
        }
        self.path(class, &path);
    }

    /// The area between lower and upper ends over x, in 0..=1.
    pub fn band(&mut self, class: &str, points: &[(f64, f64, f64)]) {
        let upper = points.iter().map(|(x, _, upper)| (*x, *upper));
        let lower = points.iter().rev().map(|(x, lower, _)| (*x, *lower));
        let corners = upper.chain(lower).map(|(x, y)| format!("{:.1} {:.1}", Self::x(x), self.y(y)));
        let corners = corners.collect::<Vec<_>>().join("L");
        if !corners.is_empty() {
            self.path(class, &format!("M{corners}Z"));
        }
    }

    /// A bar from the ground to `top` between `from` and `to`, with what a pointer on it is told.
    pub fn bar(&mut self, class: &str, (from, to): (f64, f64), top: f64, tells: &str) {
        let (x, width, y) = (Self::x(from), Self::x(to - from), self.y(top));
        let height = self.height as f64 - y;
        write!(
            self.marks,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            escape(tells)
        )
        .expect("a string takes what is written");
    }

    fn path(&mut self, class: &str, path: &str) {
        if !path.is_empty() {
            write!(self.marks, "<path class=\"{class}\" d=\"{path}\"/>").expect("a string takes what is written");
        }
    }

    /// Marks drawn elsewhere, as a group.
    pub fn group(&mut self, class: &str, marks: &str) {
        write!(self.marks, "<g class=\"{class}\">{marks}</g>").expect("a string takes what is written");
    }

    /// The chart, with `title` above it and `name` for those who don't see it. A `live` one follows the pointer.
    pub fn html(&self, title: &str, name: &str, live: bool) -> String {
        let Self { height, marks, .. } = self;
        let labels = |ticks: &[(f64, String)], side: &str, flip: bool| {
            let label = |(place, name): &(f64, String)| {
                let percent = 100.0 * if flip { 1.0 - place } else { *place };
                format!("<span style=\"{side}:{percent:.2}%\">{}</span>", escape(name))
            };
            ticks.iter().map(label).collect::<String>()
        };
        let (y, x) = (labels(&self.y_ticks, "top", true), labels(&self.x_ticks, "left", false));
        let (title, name) = (escape(title), escape(name));
        let live = if live { " data-live tabindex=\"0\"" } else { "" };
        format!(
            "<figure class=\"panel\"><figcaption>{title}</figcaption><div class=\"y\" aria-hidden=\"true\" style=\"height:{height}px\">{y}</div>\
             <div class=\"plot\"{live} style=\"height:{height}px\"><svg viewBox=\"0 0 {PLACES} {height}\" preserveAspectRatio=\"none\" \
             role=\"img\" aria-label=\"{name}\">{marks}</svg></div><div class=\"x\" aria-hidden=\"true\">{x}</div></figure>\n"
        )
    }
}

/// Points of values on two scales.
pub fn on(x: Scale, y: Scale) -> impl Fn((f64, f64)) -> (f64, f64) {
    move |(left, up)| (x.at(left), y.at(up))
}
