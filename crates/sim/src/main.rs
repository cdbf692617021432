//! `npm run sim`: runs seeds and says what they showed.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use solconnect_sim::checker::{Exercised, INVARIANTS, Mark, VAULT_INVARIANTS, Violation, e, label_of};
use solconnect_sim::faults::Fault;
use solconnect_sim::scenario::{Outcome, Setting, run_with};
use solconnect_sim::signers::SignIn;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// From so many seeds on, a fault or an invariant that never came up is an error. Where devices must sign in, hostile members do
/// not come in, and what they do does not come up.
const SEEDS_FOR_COVERAGE: u64 = 500;

/// How often a long run says how far it is, on the error output.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(20);

/// The options. The help is written by hand in a file of its own: `npm run sim -- --help` prints that file before anything
/// is built.
#[derive(Parser)]
#[command(override_help = include_str!("help.txt"))]
struct Options {
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    #[arg(long, default_value_t = 0)]
    first: u64,
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 30)]
    lines: usize,
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long)]
    seconds: Option<u64>,
    #[arg(long, default_value = "never", value_parser = sign_in)]
    sign_in: SignIn,
    #[arg(long, default_value = "off", value_parser = encryption)]
    encryption: Encrypts,
}

/// Whether devices encrypt.
#[derive(Clone, Copy, PartialEq)]
struct Encrypts(bool);

impl Options {
    /// Who encrypts has signed in.
    fn setting(&self) -> Setting {
        let Encrypts(encrypts) = self.encryption;
        Setting { sign_in: if encrypts { SignIn::Required } else { self.sign_in }, encrypts }
    }
}

fn encryption(text: &str) -> Result<Encrypts, String> {
    match text {
        "off" => Ok(Encrypts(false)),
        "required" => Ok(Encrypts(true)),
        _ => Err("it is off or required".into()),
    }
}

fn sign_in(text: &str) -> Result<SignIn, String> {
    match text {
        "never" => Ok(SignIn::Never),
        "open" => Ok(SignIn::Open),
        "required" => Ok(SignIn::Required),
        _ => Err("it is never, open or required".into()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    std::panic::set_hook(Box::new(|_| {}));
    match options.seed {
        Some(seed) => one(seed, options.lines, options.setting()),
        None => many(&options),
    }
}

/// Runs a seed; a machine that panics violates every promise.
fn attempt(seed: u64, lines_max: usize, setting: Setting) -> Outcome {
    std::panic::catch_unwind(|| run_with(seed, lines_max, setting)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned().or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            seed,
            setting,
            hash: 0,
            steps: 0,
            operations: 0,
            faults: vec![0; Fault::ALL.len()],
            exercised: Exercised::default(),
            marks: vec![0; Mark::ALL.len()],
            violation: Some(Violation { invariant: 0, text: format!("panic: {}", text.unwrap_or_default()) }),
            rates: String::new(),
            lines: Vec::new(),
        }
    })
}

fn one(seed: u64, lines_max: usize, setting: Setting) -> ExitCode {
    let outcome = attempt(seed, lines_max, setting);
    println!("seed {seed}: {} operations, {} steps, trace {:016x}", outcome.operations, outcome.steps, outcome.hash);
    println!("rates: {}", outcome.rates);
    match &outcome.violation {
        Some(violation) => {
            outcome.lines.iter().for_each(|line| println!("{line}"));
            println!("{}", sentence(violation));
            ExitCode::FAILURE
        }
        None => {
            println!("clean");
            ExitCode::SUCCESS
        }
    }
}

fn sentence(violation: &Violation) -> String {
    let Violation { invariant, text } = violation;
    if *invariant == 0 { text.clone() } else { format!("{}: {text}", label_of(*invariant)) }
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    operations: u64,
    steps: u64,
    faults: Vec<u64>,
    exercised: Exercised,
    marks: [u64; Mark::ALL.len()],
    repeated: u64,
    /// Of all traces, whatever the order in which the seeds ended.
    traces: u64,
    broken: Vec<Outcome>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.operations += outcome.operations;
        self.steps += outcome.steps;
        self.traces = self.traces.wrapping_add((outcome.hash ^ outcome.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.faults.resize(Fault::ALL.len(), 0);
        self.faults.iter_mut().zip(&outcome.faults).for_each(|(sum, count)| *sum += count);
        self.exercised.iter_mut().zip(outcome.exercised.iter()).for_each(|(sum, count)| *sum += count);
        self.marks.iter_mut().zip(&outcome.marks).for_each(|(sum, count)| *sum += count);
        if outcome.violation.is_some() {
            self.broken.push(outcome);
        }
    }
}

fn many(options: &Options) -> ExitCode {
    let threads = options.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let start = Instant::now();
    let (next, stop) = (AtomicU64::new(options.first), AtomicBool::new(false));
    let (sender, outcomes) = channel();
    let mut sum = Sum::default();
    let mut told = start;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let sender = sender.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || work(options, start, next, stop, &sender));
        }
        drop(sender);
        for (outcome, again) in outcomes {
            let seed = outcome.seed;
            if let Some(hash) = again {
                sum.repeated += 1;
                if hash != outcome.hash {
                    println!("seed {seed} gave two traces");
                    stop.store(true, Ordering::Relaxed);
                    sum.broken.push(attempt(seed, 0, options.setting()));
                }
            }
            if let Some(violation) = &outcome.violation {
                println!("seed {seed}, step {}: {}", outcome.steps, sentence(violation));
                stop.store(true, Ordering::Relaxed);
            }
            sum.add(outcome);
            if told.elapsed() >= PROGRESS_INTERVAL {
                told = Instant::now();
                let seconds = start.elapsed().as_secs_f64();
                eprintln!("  {} of {} seeds in {seconds:.0} s, {:.0} a second", sum.seeds, options.seeds, sum.seeds as f64 / seconds);
            }
        }
    });
    report(&sum, start.elapsed(), options)
}

fn work(options: &Options, start: Instant, next: &AtomicU64, stop: &AtomicBool, sender: &Sender<(Outcome, Option<u64>)>) {
    let limit = options.seconds.map(Duration::from_secs);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let late = limit.is_some_and(|limit| start.elapsed() >= limit);
        if seed >= options.first + options.seeds || late || stop.load(Ordering::Relaxed) {
            return;
        }
        let outcome = attempt(seed, 0, options.setting());
        let again = seed.is_multiple_of(100).then(|| attempt(seed, 0, options.setting()).hash);
        if sender.send((outcome, again)).is_err() {
            return;
        }
    }
}

/// The end of the trace of a seed that failed, what is wrong, and how to see it again.
fn tell_broken(broken: &Outcome, lines_max: usize) {
    if lines_max > 0 {
        println!("the end of its trace:");
        attempt(broken.seed, lines_max, broken.setting).lines.iter().for_each(|line| println!("{line}"));
    }
    println!("rates: {}", broken.rates);
    if let Some(violation) = &broken.violation {
        println!("seed {}, step {}: {}", broken.seed, broken.steps, sentence(violation));
    }
    let setting = match broken.setting.sign_in {
        _ if broken.setting.encrypts => " --encryption required",
        SignIn::Never => "",
        SignIn::Open => " --sign-in open",
        SignIn::Required => " --sign-in required",
    };
    println!("run it again: npm run sim -- --seed {} --lines 300{setting}", broken.seed);
}

fn report(sum: &Sum, elapsed: Duration, options: &Options) -> ExitCode {
    let seconds = elapsed.as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s, {:.0} a second; {} operations, {} steps; {} seeds run twice with the same trace; traces {:016x}",
        sum.seeds,
        sum.seeds as f64 / seconds,
        sum.operations,
        sum.steps,
        sum.repeated,
        sum.traces
    );
    // Who looks for a bug needs its seed, what is wrong and what came before; the tables would push that off the screen.
    if let Some(broken) = sum.broken.iter().min_by_key(|outcome| outcome.seed) {
        tell_broken(broken, options.lines);
        return ExitCode::FAILURE;
    }
    let mut missing = Vec::new();
    println!("faults:");
    for (fault, count) in Fault::ALL.iter().zip(&sum.faults) {
        println!("  {count:>9}  {}", fault.label());
        // Of the worlds whose faults are looked at, it is in none.
        if *count == 0 && *fault != Fault::RelayLies {
            missing.push(fault.label().to_owned());
        }
    }
    println!("invariants, how often put to the test:");
    for invariant in INVARIANTS {
        let count = sum.exercised[invariant as usize];
        println!("  {count:>9}  I{invariant}");
        if count == 0 && ![17, 18].contains(&invariant) {
            missing.push(format!("I{invariant}"));
        }
    }
    if options.setting().encrypts {
        for invariant in VAULT_INVARIANTS {
            println!("  {:>9}  E{invariant}", sum.exercised[usize::from(e(invariant))]);
        }
    }
    println!("and:");
    for (mark, count) in Mark::ALL.iter().zip(&sum.marks) {
        println!("  {count:>9}  {}", mark.label());
        let setting = options.setting();
        let cannot = mark.needs_sign_in() && setting.sign_in == SignIn::Never || mark.needs_encryption() && !setting.encrypts;
        // One that comes up once in a thousand seeds may be missing in fewer than ten thousand.
        let may_miss = *mark == Mark::MadeAnewByAnother && sum.seeds < 10_000;
        if *count == 0 && !cannot && !may_miss {
            missing.push(mark.label().to_owned());
        }
    }
    if sum.seeds >= SEEDS_FOR_COVERAGE && !missing.is_empty() && options.setting().sign_in != SignIn::Required {
        println!("never came up: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    println!("clean");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_names_every_option_with_its_default() {
        let help = include_str!("help.txt");
        for option in Options::command().get_arguments() {
            let name = option.get_long().unwrap();
            let row = help.lines().find(|row| row.trim_start().starts_with(&format!("--{name} "))).unwrap();
            for default in option.get_default_values() {
                assert!(row.ends_with(&format!("[default: {}]", default.display())), "{row}");
            }
        }
    }
}
