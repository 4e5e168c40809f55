//! Conditions on a result: `p99 < 20ms`, `errors = 0`, `rate >= 1900`, `error-rate < 1%`, `p99[GET /] < 5ms`.

use crate::problem::{Problem, did_you_mean};
use crate::report::{Report, TaskReport, ThresholdReport, time};
use crate::scenario::{Scenario, parse_duration};

/// A condition on a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    /// Of the service times, also in an open loop.
    service: bool,
    /// Name of the task, or `METHOD NAME`; none: all tasks.
    task: Option<String>,
    operator: Operator,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// Times in µs.
    Quantile(f64),
    Mean,
    Requests,
    Errors,
    /// In percent.
    ErrorRate,
    /// Per second.
    Rate,
    Unfinished,
    /// Requests started, in percent of those due.
    Achieved,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
];

const NAMES: [&str; 13] = [
    "p50",
    "p90",
    "p95",
    "p99",
    "p99.9",
    "max",
    "mean",
    "requests",
    "errors",
    "error-rate",
    "rate",
    "unfinished",
    "achieved",
];

impl Threshold {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| Problem::general(format!("threshold {text:?}: {why}"));
        // The name of a task may hold anything, operators included.
        let after_task = text.find('[').and_then(|_| text.rfind(']')).map_or(0, |end| end + 1);
        let found = OPERATORS.iter().filter_map(|(sign, operator)| {
            let at = text[after_task..].find(sign)? + after_task;
            Some((at, *sign, *operator))
        });
        // Of those at the same place the longest, which comes first in the list.
        let (at, sign, operator) = found
            .min_by_key(|(at, ..)| *at)
            .ok_or_else(|| wrong("there is no comparison; write it like \"p99 < 20ms\" (<, <=, >, >=, =)"))?;
        let (left, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let (name, task) = match left.split_once('[') {
            Some((name, rest)) => (name.trim(), Some(rest.trim_end_matches(']').trim().to_owned())),
            None => (left, None),
        };
        let (service, name) = name.strip_prefix("service.").map_or((false, name), |name| (true, name));
        let metric = Metric::parse(name).ok_or_else(|| {
            wrong(&format!(
                "unknown measure {name:?}{}; known: {}, and any percentile",
                did_you_mean(name, NAMES),
                NAMES.join(", ")
            ))
        })?;
        if task.is_some() && matches!(metric, Metric::Unfinished | Metric::Achieved) {
            return Err(wrong(&format!("{name} is of the whole run, not of a task")));
        }
        if service && !matches!(metric, Metric::Quantile(_) | Metric::Mean) {
            return Err(wrong(&format!("{name} is no time, so it has no service.")));
        }
        let limit = metric.limit(value).map_err(|why| wrong(&why))?;
        Ok(Self { text: text.trim().to_owned(), metric, service, task, operator, limit })
    }

    /// Whether the task it speaks of exists.
    pub fn check(&self, scenario: &Scenario) -> Result<(), Problem> {
        let Some(wanted) = &self.task else { return Ok(()) };
        if scenario.tasks.iter().any(|task| task.name == *wanted || format!("{} {}", task.method, task.name) == *wanted)
        {
            return Ok(());
        }
        let nearest = did_you_mean(wanted, scenario.tasks.iter().map(|task| task.name.as_str()));
        Err(Problem::general(format!("threshold {:?}: there is no task {wanted:?}{nearest}", self.text)))
    }

    /// Compares.
    #[must_use]
    pub fn judge(&self, report: &Report) -> ThresholdReport {
        let measured = self.measure(report);
        let held = measured.is_some_and(|value| match self.operator {
            Operator::Less => value < self.limit,
            Operator::LessOrEqual => value <= self.limit,
            Operator::Greater => value > self.limit,
            Operator::GreaterOrEqual => value >= self.limit,
            #[expect(clippy::float_cmp, reason = "equal is what was asked for, and counts are whole")]
            Operator::Equal => value == self.limit,
        });
        let measured = measured.map_or_else(|| "nothing was measured".to_owned(), |value| self.metric.show(value));
        ThresholdReport { condition: self.text.clone(), measured, held }
    }

    /// None if there is nothing to compare, which holds no condition.
    fn measure(&self, report: &Report) -> Option<f64> {
        let wanted = |task: &&TaskReport| Some(&task.name) == self.task.as_ref() || Some(task.title()) == self.task;
        // Tasks of several classes may have the same name: the worst of them decides.
        let tasks: Vec<&TaskReport> = match &self.task {
            None => vec![&report.total],
            Some(_) => report.tasks.iter().filter(wanted).collect(),
        };
        let values = tasks.into_iter().map(|task| {
            let times = if self.service { &task.service.0 } else { task.times() };
            Some(match self.metric {
                Metric::Quantile(_) | Metric::Mean if times.is_empty() => return None,
                Metric::Quantile(quantile) => times.value_at_quantile(quantile) as f64,
                Metric::Mean => times.mean(),
                Metric::Requests => task.requests as f64,
                Metric::Errors => task.failures as f64,
                Metric::ErrorRate if task.requests == 0 => return None,
                Metric::ErrorRate => task.failures as f64 * 100.0 / task.requests as f64,
                Metric::Rate => task.rate,
                Metric::Unfinished => (report.unfinished + report.unstarted) as f64,
                Metric::Achieved => {
                    let schedule = report.schedule.as_ref()?;
                    schedule.started as f64 * 100.0 / schedule.due.max(1) as f64
                }
            })
        });
        let values: Option<Vec<f64>> = values.collect();
        let upper = matches!(self.operator, Operator::Less | Operator::LessOrEqual | Operator::Equal);
        values?.into_iter().reduce(if upper { f64::max } else { f64::min })
    }
}

impl Metric {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "max" => Self::Quantile(1.0),
            "mean" => Self::Mean,
            "requests" => Self::Requests,
            "errors" => Self::Errors,
            "error-rate" => Self::ErrorRate,
            "rate" => Self::Rate,
            "unfinished" => Self::Unfinished,
            "achieved" => Self::Achieved,
            _ => {
                let percentile: f64 = name.strip_prefix('p')?.parse().ok()?;
                Self::Quantile(Some(percentile / 100.0).filter(|quantile| (0.0..=1.0).contains(quantile))?)
            }
        })
    }

    fn limit(self, value: &str) -> Result<f64, String> {
        let number = |text: &str| {
            let parsed = text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
            parsed.ok_or_else(|| format!("{text:?} is no number"))
        };
        match self {
            Self::Quantile(_) | Self::Mean => {
                if value.ends_with(|last: char| last.is_ascii_digit()) {
                    return Err(format!("{value:?} has no unit; write \"{value}ms\""));
                }
                Ok(parse_duration(value)?.as_nanos() as f64 / 1e3)
            }
            Self::ErrorRate | Self::Achieved => match value.strip_suffix('%') {
                Some(percent) => number(percent),
                None => Err(format!("{value:?} has no unit; write a percentage, like \"1%\"")),
            },
            Self::Requests | Self::Errors | Self::Rate | Self::Unfinished => number(value),
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Quantile(_) | Self::Mean => time(value.round() as u64),
            Self::ErrorRate | Self::Achieved => format!("{value:.3} %"),
            Self::Rate => format!("{value:.1}"),
            Self::Requests | Self::Errors | Self::Unfinished => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests;
