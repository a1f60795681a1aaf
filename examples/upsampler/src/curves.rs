//! The curves of a training: the losses of each epoch, as a CSV file and as a picture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use plotters::prelude::*;

use crate::quality::psnr_of_mse;

const CSV: &str = "curves.csv";
const SVG: &str = "curves.svg";
const HEADING: &str = "epoch,train_loss,valid_loss";

/// Height and width of the picture.
const SIZE: (u32, u32) = (720, 400);

/// The losses of an epoch: of the training patches, and of those for validation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Losses {
    train: Option<f64>,
    valid: Option<f64>,
}

/// Collects the losses of a training and writes them after every epoch.
pub struct Curves {
    folder: PathBuf,
    losses: BTreeMap<usize, Losses>,
}

impl Curves {
    /// The curves up to epoch `done`, from the file of an earlier run in `folder`. A file that is
    /// missing or broken gives none: the training does not need them.
    pub fn until(done: usize, folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(CSV)).unwrap_or_default();
        let losses = text.lines().skip(1).filter_map(losses_of);
        Self {
            folder: folder.into(),
            losses: losses.filter(|(epoch, _)| *epoch <= done).collect(),
        }
    }

    /// The epochs from the best validation loss to the worst.
    pub fn best_epochs(&self) -> Vec<usize> {
        let valid = |(&epoch, losses): (&usize, &Losses)| Some((epoch, losses.valid?));
        let mut epochs: Vec<_> = self.losses.iter().filter_map(valid).collect();
        epochs.sort_by(|a, b| a.1.total_cmp(&b.1));
        epochs.into_iter().map(|(epoch, _)| epoch).collect()
    }

    fn of_split(&mut self, epoch: usize, split: &Split) -> &mut Option<f64> {
        let losses = self.losses.entry(epoch).or_default();
        match split {
            Split::Train => &mut losses.train,
            _ => &mut losses.valid,
        }
    }

    /// The training continues even if the curves cannot be written.
    fn write(&self) {
        let number = |loss: Option<f64>| loss.map(|loss| loss.to_string()).unwrap_or_default();
        let lines = self.losses.iter().map(|(epoch, losses)| {
            format!("{epoch},{},{}", number(losses.train), number(losses.valid))
        });
        let lines: Vec<_> = [HEADING.to_string()].into_iter().chain(lines).collect();
        let _ = std::fs::write(self.folder.join(CSV), lines.join("\n") + "\n");
        if self.losses.len() > 1 {
            let _ = self.draw(&self.folder.join(SVG));
        }
    }

    /// Draws both curves in dB over the epochs.
    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let points = |loss: fn(&Losses) -> Option<f64>| -> Vec<(f64, f64)> {
            self.losses
                .iter()
                .filter_map(|(&epoch, losses)| Some((epoch as f64, psnr_of_mse(loss(losses)?))))
                .collect()
        };
        let curves = [
            ("training", BLUE, points(|losses| losses.train)),
            ("validation", RED, points(|losses| losses.valid)),
        ];
        let all = || curves.iter().flat_map(|(_, _, points)| points);
        let lowest = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let highest = all().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        let last = all().map(|point| point.0).fold(1.0, f64::max);

        let picture = SVGBackend::new(path, SIZE).into_drawing_area();
        picture.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&picture)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .caption("PSNR of the luma of patches, in dB", ("sans-serif", 16))
            .build_cartesian_2d(1.0..last, lowest - 0.1..highest + 0.1)?;
        chart
            .configure_mesh()
            .x_desc("epoch")
            .x_label_formatter(&|epoch| format!("{epoch:.0}"))
            .y_label_formatter(&|psnr| format!("{psnr:.1}"))
            .draw()?;
        for (name, colour, points) in curves.clone() {
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
        picture.present()?;
        Ok(())
    }
}

fn losses_of(line: &str) -> Option<(usize, Losses)> {
    let mut cells = line.split(',');
    let epoch = cells.next()?.parse().ok()?;
    let mut loss = || cells.next()?.parse().ok();
    let [train, valid] = [loss(), loss()];
    Some((epoch, Losses { train, valid }))
}

impl MetricLogger for Curves {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        for entry in update.entries_numeric {
            // The mean of the epoch comes once, at its end. The loss is the only metric.
            if let Some(NumericEntry::Final(mean)) = entry.numeric_entry {
                *self.of_split(epoch, split) = Some(mean);
            }
        }
    }

    fn read_numeric(
        &mut self,
        _: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        let losses = self.losses.get(&epoch).copied().unwrap_or_default();
        let loss = match split {
            Split::Train => losses.train,
            _ => losses.valid,
        };
        Ok(loss.map(NumericEntry::Final).into_iter().collect())
    }

    fn log_metric_definition(&mut self, _: MetricDefinition) {}

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if summary.split == Split::Valid {
            self.write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curves_survive_a_stopped_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut curves = Curves::until(0, folder.path());
        for (epoch, train, valid) in [(1, 0.01, 0.02), (2, 0.005, 0.01), (3, 0.004, 0.015)] {
            *curves.of_split(epoch, &Split::Train) = Some(train);
            *curves.of_split(epoch, &Split::Valid) = Some(valid);
        }
        curves.write();
        let svg = std::fs::read_to_string(folder.path().join(SVG)).unwrap();
        assert!(
            svg.contains("validation") && svg.contains("polyline"),
            "{svg}"
        );

        let read = Curves::until(9, folder.path());
        assert_eq!(read.losses, curves.losses);
        assert_eq!(read.best_epochs(), [2, 3, 1]);
        assert_eq!(Curves::until(1, folder.path()).best_epochs(), [1]);
        std::fs::write(folder.path().join(CSV), "no\ncurves,at,all\n").unwrap();
        assert!(Curves::until(9, folder.path()).losses.is_empty());
    }
}
