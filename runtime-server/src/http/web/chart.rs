//! Compliance over time as a drawing: three areas on top of each other that fill the height.

use crate::http::api::compliance::Sample;
use crate::text::moment;
use std::fmt::Write;

/// The drawing.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows, for those who do not see it.
    pub label: String,
    /// The areas, from the bottom up.
    pub areas: Vec<Area>,
    /// The moment at its left edge.
    pub from: String,
    /// The moment at its right edge.
    pub to: String,
}

/// One area.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    /// The class of its colour.
    pub class: &'static str,
    /// Its outline.
    pub path: String,
}

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 140.0;

impl Chart {
    /// From samples, the oldest first; `None` when they make no line.
    pub fn of(samples: &[Sample]) -> Option<Chart> {
        let (first, last) = (samples.first()?, samples.last()?);
        if first.at >= last.at {
            return None;
        }
        let x = |at: u64| (at - first.at) as f64 / (last.at - first.at) as f64 * WIDTH;
        let share = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
        // The top edge of each area, as a share of the height.
        let compliant: Vec<_> =
            samples.iter().map(|s| (x(s.at), share(s.count.compliant, s.count.active))).collect();
        let known: Vec<_> = samples
            .iter()
            .map(|s| (x(s.at), share(s.count.compliant + s.count.non_compliant, s.count.active)))
            .collect();
        let floor: Vec<_> = samples.iter().map(|s| (x(s.at), 0.0)).collect();
        let ceiling: Vec<_> = samples.iter().map(|s| (x(s.at), 1.0)).collect();
        let label = format!(
            "compliant envoys over time: {} of {} at first, {} of {} at the end",
            first.count.compliant, first.count.active, last.count.compliant, last.count.active
        );
        Some(Chart {
            label,
            areas: vec![
                Area { class: "good", path: between(&floor, &compliant) },
                Area { class: "warn", path: between(&compliant, &known) },
                Area { class: "idle", path: between(&known, &ceiling) },
            ],
            from: moment(first.at),
            to: moment(last.at),
        })
    }
}

/// Along the upper edge and back along the lower one.
fn between(lower: &[(f64, f64)], upper: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, share)) in upper.iter().chain(lower.iter().rev()).enumerate() {
        let letter = if at == 0 { 'M' } else { 'L' };
        // Writing to a string does not fail.
        let _ = write!(path, "{letter}{x:.1} {:.1}", HEIGHT - share * HEIGHT);
    }
    path.push('Z');
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::survey::Count;

    #[test]
    fn areas_fill_the_height() {
        let sample = |at, compliant, non_compliant, unknown| {
            let active = compliant + non_compliant + unknown;
            Sample { at, count: Count { active, compliant, non_compliant, unknown, ratio: None } }
        };
        assert_eq!(Chart::of(&[]), None);
        assert_eq!(Chart::of(&[sample(5, 1, 0, 0)]), None);
        let chart = Chart::of(&[sample(0, 1, 1, 0), sample(10, 0, 1, 1), sample(20, 0, 0, 0)]).unwrap();
        let paths: Vec<&str> = chart.areas.iter().map(|a| a.path.as_str()).collect();
        assert_eq!(paths[0], "M0.0 70.0L500.0 140.0L1000.0 140.0L1000.0 140.0L500.0 140.0L0.0 140.0Z");
        assert_eq!(paths[1], "M0.0 0.0L500.0 70.0L1000.0 140.0L1000.0 140.0L500.0 140.0L0.0 70.0Z");
    }
}
