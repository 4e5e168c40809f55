//! One run from start to end: brings the load up, asks the engine once a second, ends it in time, and writes the report.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::engine::{Engine, EngineOptions, LEAD, Schedule, ThreadCpu};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::report::{
    EndedBy, ErrorReport, FORMAT, GeneratorReport, Hdr, LoadReport, Report, ScheduleReport, SecondReport, SecondTimes,
    TaskReport, encode,
};
use crate::scenario::{Arrivals, Load, Scenario, Version};
use crate::stats::{Interval, TaskStats, histogram};
use crate::thresholds::Threshold;
use crate::verdict;

/// How often the number of users follows its ramp.
const RAMP_STEP: Duration = Duration::from_millis(100);
/// An open loop ends by itself; this long after its end at the latest.
const OVERTIME: Duration = Duration::from_millis(200);

/// Runs a scenario to its end, to Ctrl-C or to SIGTERM; a second signal ends the grace time too.
pub async fn run(scenario: Scenario, threads: usize, mut progress: Progress) -> Result<Report, Problem> {
    let cannot = |error: std::io::Error| Problem::general(format!("cannot watch for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let scenario = Arc::new(scenario);
    let schedule = Schedule::new(&scenario.load);
    let mut engine = Engine::start(Arc::clone(&scenario), EngineOptions { threads, schedule: schedule.clone() })?;
    let mut books = Books::new(&scenario, schedule, engine.threads());
    let begin = books.begin;
    let end = scenario.load.length();
    let mut ticks = interval_at(begin + Duration::from_secs(1), Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ramp = interval_at(begin, RAMP_STEP);
    let mut users = 0;
    let deadline = end.map(|end| begin + end + if books.schedule.is_some() { LEAD + OVERTIME } else { Duration::ZERO });
    let ended_by = loop {
        let over = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await, // the length that was asked for
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = interrupt.recv() => break EndedBy::Interrupt,
            _ = terminate.recv() => break EndedBy::Interrupt,
            () = over => break EndedBy::Duration,
            () = engine.finished() => break if scenario.load.requests.is_some() { EndedBy::Requests } else { EndedBy::Duration },
            _ = ticks.tick() => {
                let interval = engine.take().await;
                let running = engine.users().iter().sum();
                books.second(interval, running, &engine.cpu_by_thread());
                progress.second(&books.seconds[books.seconds.len() - 1], &books.sum);
            }
            _ = ramp.tick() => {
                let wanted = scenario.load.users_at(begin.elapsed());
                if books.schedule.is_none() && wanted != users {
                    users = wanted;
                    engine.set_users(&scenario.split(users));
                }
            }
        }
    };
    let stopped = begin.elapsed();
    let running = engine.users().iter().sum();
    let aborter = engine.aborter();
    let mut stop = std::pin::pin!(engine.stop(scenario.load.grace));
    let (last, cpu) = loop {
        tokio::select! {
            stopped = &mut stop => break stopped,
            _ = interrupt.recv() => aborter.abort(),
            _ = terminate.recv() => aborter.abort(),
        }
    };
    books.second(last, running, &cpu);
    progress.end();
    Ok(books.report(ended_by, stopped))
}

/// What has been measured so far.
struct Books {
    scenario: Arc<Scenario>,
    schedule: Option<Schedule>,
    begin: Instant,
    sum: Interval,
    seconds: Vec<SecondReport>,
    last: Duration,
    cpu: Vec<ThreadCpu>,
}

impl Books {
    fn new(scenario: &Arc<Scenario>, schedule: Option<Schedule>, threads: usize) -> Self {
        Self {
            scenario: Arc::clone(scenario),
            schedule,
            begin: Instant::now(),
            sum: Interval::empty(scenario.tasks.len()),
            seconds: Vec::new(),
            last: Duration::ZERO,
            cpu: vec![ThreadCpu::default(); threads],
        }
    }

    /// Adds about a second.
    fn second(&mut self, interval: Interval, users: u32, cpu: &[ThreadCpu]) {
        let now = self.begin.elapsed();
        let length = now.saturating_sub(self.last).as_secs_f64().max(1e-6);
        let mut times = histogram();
        for task in &interval.tasks {
            let of = if self.schedule.is_some() { &task.response } else { &task.service };
            crate::stats::add(&mut times, of);
        }
        let due = |schedule: &Schedule| {
            (schedule.due(now.saturating_sub(LEAD)) - schedule.due(self.last.saturating_sub(LEAD))) / length
        };
        let target_rate = self.schedule.as_ref().map(due);
        let percent = |nanos: u64| nanos as f64 / 1e7 / length;
        let at = |quantile| times.value_at_quantile(quantile);
        self.seconds.push(SecondReport {
            at_s: now.as_secs_f64(),
            length_s: length,
            requests: interval.requests(),
            failures: interval.tasks.iter().map(|task| task.failures).sum(),
            target_rate,
            users,
            cpu: cpu.iter().map(|cpu| percent(cpu.running)).fold(0.0, f64::max),
            times: (!times.is_empty()).then(|| SecondTimes {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                max: times.max(),
                hdr: encode(&times),
            }),
        });
        for (sum, cpu) in self.cpu.iter_mut().zip(cpu) {
            sum.running += cpu.running;
            sum.waiting += cpu.waiting;
        }
        self.sum.merge(interval);
        self.last = now;
    }

    fn report(self, ended_by: EndedBy, stopped: Duration) -> Report {
        let open = self.schedule.is_some();
        let load = &self.scenario.load;
        let elapsed = self.last.as_secs_f64();
        let sum = self.sum;
        let started = wall_clock() - elapsed;
        // Rates are by the time in which requests were started; what came in the grace time belongs to them.
        let last_end = sum.tasks.iter().filter_map(|task| task.last_end).reduce(f64::max);
        let duration = match (ended_by, load.length(), last_end) {
            (EndedBy::Duration, Some(length), _) if open => length.as_secs_f64(),
            (EndedBy::Requests, _, Some(last_end)) => last_end - started,
            _ => stopped.as_secs_f64(),
        };
        let duration = duration.max(1e-6);
        let mut total = TaskStats::empty();
        let mut tasks = Vec::new();
        for (task, stats) in self.scenario.tasks.iter().zip(sum.tasks) {
            total.merge(stats.clone());
            let class = &self.scenario.classes[task.class].name;
            tasks.push(TaskReport::new(class, &task.name, task.method.as_str(), stats, open, duration));
        }
        let mut errors: Vec<ErrorReport> = sum
            .failures
            .into_iter()
            .map(|failure| ErrorReport {
                task: tasks[failure.task].title(),
                kind: failure.kind,
                message: failure.message,
                occurrences: failure.occurrences,
                first_s: (failure.first_seen - started).max(0.0),
                last_s: (failure.last_seen - started).max(0.0),
            })
            .collect();
        errors.sort_by(|a, b| b.occurrences.cmp(&a.occurrences).then_with(|| a.message.cmp(&b.message)));
        let schedule = self.schedule.map(|_| ScheduleReport {
            due: sum.schedule.due,
            started: sum.schedule.due.saturating_sub(sum.unstarted),
            queued: sum.schedule.queued,
            late: Hdr(sum.schedule.late),
            delay: Hdr(sum.schedule.delay),
        });
        let percent = |nanos: u64| nanos as f64 / 1e7 / elapsed.max(1e-6);
        let used: u64 = self.cpu.iter().map(|cpu| cpu.running).sum();
        let mut report = Report {
            format: FORMAT,
            scenario: self.scenario.name.clone(),
            started,
            elapsed_s: elapsed,
            duration_s: duration,
            ended_by,
            load: LoadReport { description: description(&self.scenario), open, threads: self.cpu.len() },
            generator: GeneratorReport {
                cpu: self.cpu.iter().map(|cpu| percent(cpu.running)).collect(),
                waited: self.cpu.iter().map(|cpu| percent(cpu.waiting)).collect(),
                cpu_per_request_us: used as f64 / 1e3 / total.requests.max(1) as f64,
                warnings: Vec::new(),
            },
            total: TaskReport::new("", "all tasks", "", total, open, duration),
            tasks,
            errors,
            unfinished: sum.unfinished,
            unstarted: sum.unstarted,
            connections: sum.connections.opened,
            connect_time: Hdr(sum.connections.time),
            schedule,
            seconds: self.seconds,
            slowest: sum.slowest,
            thresholds: Vec::new(),
        };
        report.generator.warnings = verdict::warnings(&report, load.max_in_flight);
        let parsed = self.scenario.thresholds.iter().map(|text| Threshold::parse(text));
        let parsed: Vec<Threshold> = parsed.collect::<Result<_, _>>().expect("they were read before the run");
        report.thresholds = parsed.iter().map(|threshold| threshold.judge(&report)).collect();
        report
    }
}

#[expect(clippy::disallowed_methods, reason = "a result names the time of day; nothing is decided by it")]
fn wall_clock() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The load in a sentence.
fn description(scenario: &Scenario) -> String {
    let load = &scenario.load;
    let mut parts = vec![match (load.rate, &*load.stages) {
        (None, []) => format!("closed loop, {} users", load.users),
        (None, stages) => format!("closed loop, {} stages up to {} users", stages.len(), most(load)),
        (Some(rate), []) => format!("open loop, {rate} requests/s {}", arrivals(load)),
        (Some(_), stages) => {
            format!("open loop, {} stages up to {} requests/s {}", stages.len(), most(load), arrivals(load))
        }
    }];
    if !load.ramp_up.is_zero() {
        parts.push(format!("ramp-up {:?}", load.ramp_up));
    }
    parts.push(match scenario.client.http {
        Version::Http1 => "HTTP/1.1".to_owned(),
        Version::Http2 => "HTTP/2".to_owned(),
    });
    if scenario.uses_tls() {
        parts.push("TLS".to_owned());
    }
    if !scenario.client.keepalive {
        parts.push("a connection for each request".to_owned());
    }
    parts.join(", ")
}

fn arrivals(load: &Load) -> &'static str {
    match load.arrivals {
        Arrivals::Constant => "evenly spaced",
        Arrivals::Poisson => "at random (Poisson)",
    }
}

fn most(load: &Load) -> f64 {
    load.stages.iter().map(|stage| stage.target).fold(0.0, f64::max)
}
