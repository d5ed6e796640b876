//! Progress on standard error: a bar on a terminal, a plain line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::grouped;

/// How often a plain line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Says where progress goes; bars made from one board stand under each other.
#[derive(Debug, Clone)]
pub struct Board {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Bars(MultiProgress),
    Lines,
    Silent,
}

impl Board {
    /// Bars on a terminal, plain lines elsewhere, nothing when asked to be quiet.
    pub fn new(quiet: bool) -> Board {
        let kind = if quiet {
            Kind::Silent
        } else if io::stderr().is_terminal() {
            Kind::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Kind::Lines
        };
        Board { kind }
    }

    /// Starts to report on a task of `total` steps, where that is known.
    pub fn task(&self, label: &'static str, unit: &'static str, total: Option<u64>) -> Task {
        let bar = match &self.kind {
            Kind::Bars(bars) => Some(bars.add(new_bar(label, unit, total))),
            Kind::Lines | Kind::Silent => None,
        };
        let now = Instant::now();
        let lines = matches!(self.kind, Kind::Lines);
        Task { bar, lines, label, unit, total, started: now, start_at: 0, done: 0, last_line: now }
    }

    /// Says something beside the bars.
    pub fn say(&self, text: &str) {
        match &self.kind {
            Kind::Bars(bars) => drop(bars.println(text)),
            Kind::Lines => drop(writeln!(io::stderr().lock(), "{text}")),
            Kind::Silent => {}
        }
    }
}

fn new_bar(label: &'static str, unit: &'static str, total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => format!(
            "{{prefix:>8}} {{bar:32}} {{human_pos:>9}} of {{human_len}} {unit}  {{per_sec:>12}}  {{eta}} left"
        ),
        None => format!("{{prefix:>8}} {{spinner}} {{human_pos:>9}} {unit}  {{per_sec:>12}}  {{elapsed}}"),
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    // A template that does not parse is a defect of this file; the default style is good enough to go on with.
    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(label);
    bar
}

/// One task in progress.
#[derive(Debug)]
pub struct Task {
    bar: Option<ProgressBar>,
    lines: bool,
    label: &'static str,
    unit: &'static str,
    total: Option<u64>,
    started: Instant,
    start_at: u64,
    done: u64,
    last_line: Instant,
}

/// What a finished task took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Steps done in this run.
    pub steps: u64,
    /// The time they took.
    pub time: Duration,
}

impl Taken {
    /// Steps a second.
    pub fn rate(&self) -> f64 {
        self.steps as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl Task {
    /// Says that the first steps were done before, so that they do not count into the rate.
    pub fn resume_at(&mut self, done: u64) {
        self.start_at = done;
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.reset_eta();
        }
    }

    /// Says how many steps are done.
    pub fn set(&mut self, done: u64) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        if self.lines && self.last_line.elapsed() >= PLAIN_EVERY {
            self.last_line = Instant::now();
            drop(writeln!(io::stderr().lock(), "{}", self.plain_line()));
        }
    }

    /// Corrects how many steps there will be.
    pub fn expect_total(&mut self, total: Option<u64>) {
        self.total = total;
        if let (Some(bar), Some(total)) = (&self.bar, total) {
            bar.set_length(total.max(self.done));
        }
    }

    /// Adds steps.
    pub fn add(&mut self, steps: u64) {
        self.set(self.done + steps);
    }

    /// Ends the task and says what it took.
    pub fn finish(self) -> Taken {
        let taken = Taken { steps: self.done - self.start_at, time: self.started.elapsed() };
        let last = if self.start_at == 0 {
            String::new()
        } else {
            format!(", the last {} of them", grouped(taken.steps))
        };
        let line = format!(
            "{:>8} {} {}{last} in {:.1} s, {} a second",
            self.label,
            grouped(self.done),
            self.unit,
            taken.time.as_secs_f64(),
            grouped(taken.rate() as u64)
        );
        if let Some(bar) = self.bar {
            // The summary takes the bar's place, so that the screen tells the whole story afterwards.
            bar.set_style(
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.finish_with_message(line);
        } else if self.lines {
            drop(writeln!(io::stderr().lock(), "{line}"));
        }
        taken
    }

    fn plain_line(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (self.done - self.start_at) as f64 / seconds.max(1e-9);
        let head = format!("{:>8} {}", self.label, grouped(self.done));
        match self.total {
            Some(total) if total > 0 => {
                let percent = self.done as f64 * 100.0 / total as f64;
                let left = total.saturating_sub(self.done) as f64 / rate.max(1e-9);
                let left =
                    if left < 1e6 { format!("{left:.0} s left") } else { "time left unknown".to_owned() };
                format!(
                    "{head} of {} {} ({percent:.0} %), {} a second, {left}",
                    grouped(total),
                    self.unit,
                    grouped(rate as u64)
                )
            }
            _ => format!("{head} {}, {} a second", self.unit, grouped(rate as u64)),
        }
    }
}
