//! How the cost of SolConnect Sync grows: with the messages of a session, its devices, the sessions of a device, and the
//! messages that wait in an outbox. Drives the real client and relay machines and the real journal, without a network.
//!
//! `solconnect-growth FOLDER [--quick]` writes growth.md, growth.json and growth.svg.

mod chat;
mod growth;
mod plot;
mod series;
mod world;

use std::path::Path;
use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use series::Section;

/// Counts what is allocated: what a machine holds is what is freed with it.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let [folder] = &args.iter().filter(|arg| *arg != "--quick").collect::<Vec<_>>()[..] else {
        eprintln!("usage: solconnect-growth FOLDER [--quick]");
        return ExitCode::FAILURE;
    };
    // Decades, up to the limits of the system or what takes minutes.
    let decades = |first: u64, last: u64| -> Vec<u64> {
        let last = if quick { last / 10 } else { last };
        std::iter::successors(Some(first), |size| Some(size * 10)).take_while(|size| *size <= last).collect()
    };
    let sections = [
        growth::messages(&decades(1_000, 1_000_000)),
        growth::devices(&[vec![2], decades(10, 1_000)].concat()),
        growth::sessions(&decades(1, 1_000)),
        growth::outbox(&decades(10, 10_000)),
    ];
    match write(Path::new(folder), &sections) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path, sections: &[Section]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let tables: Vec<String> = sections.iter().map(Section::markdown).collect();
    let markdown = format!("# How cost grows\n\n{}\n\n![The same figures, drawn](growth.svg)\n\n{}", INTRODUCTION, tables.join("\n"));
    let json = json!({ "rounds": growth::ROUNDS, "sections": sections.iter().map(Section::json).collect::<Vec<Value>>() });
    std::fs::write(folder.join("growth.md"), &markdown)?;
    std::fs::write(folder.join("growth.json"), format!("{json:#}\n"))?;
    std::fs::write(folder.join("growth.svg"), plot::svg(sections))?;
    println!("{markdown}");
    Ok(())
}

const INTRODUCTION: &str = "\
Medians of 5 rounds (3 of 1,000,000 messages), native, release build. The real client and relay machines and the real
journal in one process, without a network. Times are the processor's, of devices, relay and journal together, unless they say
otherwise. Bytes on the wire are those of frames, without what a WebSocket adds. What a device writes is encoded as records,
whose bytes are counted: there is no IndexedDB.

The claim: nothing superlinear in what is missing, nothing proportional to the history at a reconnect. `exponent` is the slope
between the last two sizes on logarithmic axes: 0 does not grow, 1 is proportional; up to 0.2 more counts as the same.";
