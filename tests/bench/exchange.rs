//! What an exchange costs: the product against a floor, in one run, by one loader.
//!
//! Decides no test: it prints figures. `README.md` beside this file says how they are made and what they mean.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement may stop at the first surprise, and its result is what it prints"
)]

mod arguments;
mod figures;
mod fleet;
mod floor;
mod loader;
mod server;
mod stage;

use std::path::Path;

use arguments::Arguments;
use figures::{Median, mebibytes};
use fleet::Fleet;
use loader::Loader;
use server::Server;
use stage::Stage;

/// Requests that one server gets before it is the other's turn: what else runs on the machine falls on both alike.
const SLICE: usize = 250;

/// Exchanges after which the product's memory is read.
const MEMORY_AFTER: usize = 100_000;

/// Decisions that are asked for, spread over all that are kept.
const ASKED: usize = 11;

/// What an exchange may cost with many sources, as a multiple of what it costs with one.
const MOST_WITH_MANY: f64 = 1.1;

/// Starts of the product whose times are compared.
const STARTS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("floor") => floor::serve(Path::new(&arguments[1])),
        Some("probe") => stage::runtime(2).block_on(measure_product_alone(&Arguments::read(&arguments[1..]))),
        Some("fleet") => stage::runtime(1).block_on(measure_fleet(&Arguments::read(&arguments[1..]))),
        Some("junk") => stage::runtime(2).block_on(async { Fleet::start().await.drive_junk() }),
        _ => stage::runtime(1).block_on(measure(&Arguments::read(&arguments))),
    }
}

/// The whole measurement.
async fn measure(arguments: &Arguments) {
    let stage = Stage::start().await;
    let first = ready_times("first start, keys are made", &stage, 1);
    let again = ready_times("starts on the same folders", &stage, STARTS);
    println!("ready: {first:.0} ms at the first start, {again:.0} ms median of {STARTS} further starts\n");

    let product = stage.product();
    let floor = stage.floor(&product);
    let mut exchanges =
        compare("fresh", SIDES, [&product, &floor], arguments, |count| stage.requests(&stage.svids(count))).taken;
    exchanges +=
        compare("repeated", SIDES, [&product, &floor], arguments, |count| stage.requests(&vec![stage.svid(); count]))
            .taken;

    let mut loader = Loader::of(product.address());
    while exchanges < MEMORY_AFTER {
        let count = SLICE.min(MEMORY_AFTER - exchanges);
        loader.drive(&stage.requests(&stage.svids(count)));
        exchanges += count;
    }
    let (resident, peak) = product.memory();
    println!("memory: {} resident after {exchanges} exchanges, {} at most", mebibytes(resident), mebibytes(peak));
    println!("size: {} of stripped release binary, with the pretend world", mebibytes(stage::product_size()));
    let explained = stage.explain_times(ASKED);
    let Median { median, most, .. } = Median::of(&explained);
    println!(
        "explain: {median:.0} ms median of {ASKED}, {most:.0} ms at most, whole process, over {} of kept decisions",
        mebibytes(stage.journal_size())
    );
    println!("records: {} lines for {exchanges} exchanges and the probes before them", stage.record_lines());
}

/// The product alone under load, for a profiler: prints its process id and drives fresh credentials.
async fn measure_product_alone(arguments: &Arguments) {
    let stage = Stage::start().await;
    let product = stage.product();
    let mut loader = Loader::of(product.address());
    println!("process {}", product.id());
    for _ in 0..arguments.rounds {
        let requests = stage.requests(&stage.svids(arguments.exchanges));
        let before = product.cpu();
        loader.drive(&requests);
        println!("{:.1} µs an exchange", figures::each(product.cpu() - before, requests.len()));
    }
}

/// One product with fifty sources beside one with a single source: the same requests, by pods of the cluster that both have.
async fn measure_fleet(arguments: &Arguments) {
    let fleet = Fleet::start().await;
    let (all, one) = (fleet.product_of_all(), fleet.product_of_one());
    let compared = compare("fleet", ["fifty", "one"], [&all, &one], arguments, |count| fleet.requests(count));
    let (resident, _) = all.memory();
    println!("{} sources: {:.2} × the cost with one; {} resident", fleet::SOURCES, compared.ratio, mebibytes(resident));
    assert!(
        compared.ratio <= MOST_WITH_MANY,
        "an exchange costs over {MOST_WITH_MANY} × what it costs with one source"
    );
}

/// What a comparison came to.
struct Compared {
    /// Exchanges that each server was given.
    taken: usize,
    /// The median of the rounds' ratios.
    ratio: f64,
}

/// The two servers of most comparisons.
const SIDES: [&str; 2] = ["product", "floor"];

fn ready_times(what: &str, stage: &Stage, starts: usize) -> f64 {
    let times: Vec<f64> = (0..starts).map(|_| stage.product().ready_after().as_secs_f64() * 1000.0).collect();
    println!("{what}: {} ms", times.iter().map(|time| format!("{time:.0}")).collect::<Vec<_>>().join(" "));
    Median::of(&times).median
}

/// Drives both servers alternately with the same requests and compares the CPU time of an exchange.
fn compare(
    what: &str,
    names: [&str; 2],
    servers: [&Server; 2],
    arguments: &Arguments,
    mut requests_of: impl FnMut(usize) -> Vec<Vec<u8>>,
) -> Compared {
    println!("{what} credentials, {} exchanges a round, µs of CPU time an exchange", arguments.exchanges);
    let mut loaders = servers.map(|server| Loader::of(server.address()));
    let warm_up = requests_of(4 * SLICE);
    loaders.iter_mut().for_each(|loader| loader.drive(&warm_up));
    let (mut taken, mut ratios, mut costs) = (warm_up.len(), Vec::new(), Vec::new());
    let [first, second] = names;
    for round in 1..=arguments.rounds {
        let requests = requests_of(arguments.exchanges);
        loaders.iter_mut().for_each(|loader| _ = loader.take());
        let before = servers.map(Server::cpu);
        for slice in requests.chunks(SLICE) {
            loaders.iter_mut().for_each(|loader| loader.drive(slice));
        }
        let after = servers.map(Server::cpu);
        let [one, other] = [0, 1].map(|which| figures::each(after[which] - before[which], requests.len()));
        let [slow_one, slow_other] = loaders.each_mut().map(|loader| loader.take().as_micros());
        taken += requests.len();
        ratios.push(one / other);
        costs.push(one);
        println!(
            "  round {round}: {first} {one:6.1}  {second} {other:6.1}  ratio {:.2}   (99 of 100 answers within {slow_one} µs and {slow_other} µs)",
            one / other
        );
    }
    let Median { median, least, most } = Median::of(&ratios);
    let a_second = 1e6 / Median::of(&costs).median;
    println!(
        "{what}: ratio {median:.2} (median of {}, {least:.2} to {most:.2}); {a_second:.0} exchanges a second and core\n",
        arguments.rounds
    );
    Compared { taken, ratio: median }
}
