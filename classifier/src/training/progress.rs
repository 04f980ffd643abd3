//! One indicatif bar a run, fed by burn-train.

use burn::train::LearnerSummary;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId};
use burn::train::renderer::{EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining};
use indicatif::{ProgressBar, ProgressStyle};

use super::gauge::{MacroAuroc, Reading};

/// Bar, step, time left, training loss and the newest validation AUROC.
pub struct BarRenderer {
    bar: ProgressBar,
    steps_a_round: usize,
    round: usize,
    train_loss: String,
    valid_auroc: String,
    valid_split: bool,
    /// The metric that the bar shows of a validation.
    auroc: Option<MetricId>,
}

impl BarRenderer {
    /// Renders on `bar`, which may be hidden.
    #[must_use]
    pub fn new(bar: ProgressBar, steps: usize, steps_a_round: usize) -> Self {
        bar.set_length(steps as u64);
        bar.set_style(style());
        Self {
            bar, steps_a_round, round: 0, train_loss: "–".into(), valid_auroc: "–".into(), valid_split: false, auroc: None
        }
    }

    fn show(&self) {
        self.bar.set_message(format!("loss {}  valid AUROC {}", self.train_loss, self.valid_auroc));
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:<28} {bar:24} step {pos}/{len}  {elapsed} elapsed, {eta} left  {msg}")
        .expect("the template is well-formed")
}

fn text(state: &MetricState) -> &str {
    match state {
        MetricState::Generic(entry) | MetricState::Numeric(entry, _) => &entry.serialized_entry.formatted,
    }
}

fn id(state: &MetricState) -> &MetricId {
    match state {
        MetricState::Generic(entry) | MetricState::Numeric(entry, _) => &entry.metric_id,
    }
}

impl MetricsRendererTraining for BarRenderer {
    fn update_train(&mut self, state: MetricState) {
        text(&state).clone_into(&mut self.train_loss);
        self.show();
    }

    fn update_valid(&mut self, state: MetricState) {
        if self.auroc.as_ref() == Some(id(&state)) {
            text(&state).clone_into(&mut self.valid_auroc);
            self.show();
        }
    }

    fn on_train_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl TrainingProgressLogger for BarRenderer {
    fn start(&mut self, _: usize, starting_epoch: usize, _: Option<usize>, _: Option<&str>) {
        self.round = starting_epoch - 1;
        // The time left is estimated from this run's own steps, not from those done before a resume.
        self.bar.set_position((self.round * self.steps_a_round) as u64);
        self.bar.reset_eta();
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.round = epoch;
    }

    fn start_split(&mut self, split: &str, _: usize) {
        self.valid_split = split != "train";
    }

    fn update_split(&mut self, items_processed: usize) {
        if !self.valid_split {
            self.bar.set_position((self.round * self.steps_a_round + items_processed) as u64);
        }
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for BarRenderer {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for BarRenderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for BarRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if *definition.name == MacroAuroc::NAME {
            self.auroc = Some(definition.metric_id);
        }
    }
}
