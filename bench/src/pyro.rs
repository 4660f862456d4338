//! Pyro's protocol: this project's worker and name server beside Pyro5's own daemon and name server, called by
//! clients at the level of the wire and by unmodified ones.

mod literals;
mod python;
mod wire;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;
use pyroxene_pyro::wire::Message;

use self::python::PyroPython;
use crate::{
    daemon,
    figure::{Figure, FigureTarget, Figures},
    load::{self, LoadOperation, Measurement},
    process::ChildServer,
    rpc::{self, System, parse_seconds, systems::pyroxene::OBJECT},
};

/// Connections of the clients at the level of the wire.
const CONNECTIONS: usize = 64;

/// Connections that look up names.
const LOOK_UPS: usize = 200;

/// Calls in a batch.
const BATCH: usize = 1000;

/// Processes with an unmodified client each.
const PROCESSES: usize = 8;

/// The options of the benchmark `pyro`.
#[derive(Args)]
pub(crate) struct PyroBenchOptions {
    /// A Python that has Pyro5 5.17 and msgpack
    #[arg(long, default_value = "python3")]
    python: PathBuf,

    /// Measured seconds per figure; a fifth of it is added for warming up
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    seconds: Duration,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// The servers that are compared.
struct Servers {
    /// This project's.
    nameserver: ChildServer,
    worker: ChildServer,
    /// Pyro's.
    pyro_nameserver: ChildServer,
    daemon: ChildServer,
}

impl Servers {
    async fn start(python: &PyroPython) -> Result<Self> {
        let nameserver = daemon::start_nameserver().await?;
        let address = nameserver.address().to_string();
        Ok(Self {
            worker: ChildServer::start_this_program(&["serve", "echo", &address]).await?,
            nameserver,
            pyro_nameserver: python.start("nameserver").await?,
            daemon: python.start("serve").await?,
        })
    }

    async fn stop(self) -> Result<()> {
        self.worker.stop().await?;
        self.nameserver.stop().await?;
        self.daemon.stop().await?;
        self.pyro_nameserver.stop().await
    }
}

impl Figures {
    /// Two rates, and how they compare.
    fn rates(&mut self, what: &str, ours: f64, theirs: f64, least: f64) {
        self.add(Figure::new(format!("{what}: Pyro5"), theirs, "/s"));
        self.add(Figure::new(format!("{what}: Pyroxene"), ours, "/s"));
        let target = FigureTarget::AtLeast(least);
        let ratio = Figure::new(format!("{what}: Pyroxene ÷ Pyro5"), ours / theirs, "×");
        self.add(ratio.target(target));
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: PyroBenchOptions) -> Result<()> {
    let python = PyroPython::find(&options.python).await?;
    let mut figures = Figures::default();
    literals::measure(&mut figures)?;
    let servers = Servers::start(&python).await?;
    null_calls(&mut figures, &servers, options.seconds).await?;
    unmodified(&mut figures, &python, &servers, options.seconds).await?;
    batches(&mut figures, &servers, options.seconds).await?;
    bytes(&mut figures, &python, &servers, options.seconds).await?;
    look_ups(&mut figures, &servers, options.seconds).await?;
    after_oneway(&mut figures, &python, &servers).await?;
    servers.stop().await?;
    figures.print(options.json)
}

/// A closed loop of one call over some connections.
async fn repeat(
    address: SocketAddr,
    object: &str,
    call: &Message,
    connections: usize,
    seconds: Duration,
) -> Result<Measurement> {
    let clients = wire::connect(address, object, call, connections).await?;
    load::run(clients, seconds / 5, seconds).await
}

async fn null_calls(figures: &mut Figures, servers: &Servers, seconds: Duration) -> Result<()> {
    let what = format!("null calls over {CONNECTIONS} connections");
    let call = wire::null_call(OBJECT, "other")?;
    let raw = rpc::measure(System::Raw, call.size(), CONNECTIONS, seconds).await?;
    figures.add(Figure::new(
        format!("{what}: raw frames"),
        raw.per_second(),
        "/s",
    ));
    let theirs = repeat(
        servers.daemon.address(),
        OBJECT,
        &call,
        CONNECTIONS,
        seconds,
    )
    .await?;
    let ours = repeat(
        servers.worker.address(),
        OBJECT,
        &call,
        CONNECTIONS,
        seconds,
    )
    .await?;
    figures.rates(&what, ours.per_second(), theirs.per_second(), 8.0);
    let ratio = ours.per_second() / raw.per_second();
    let ratio = Figure::new(format!("{what}: Pyroxene ÷ raw"), ratio, "×");
    figures.add(ratio.target(FigureTarget::AtLeast(0.8)));
    Ok(())
}

/// Adds what unmodified clients did with either server.
async fn both(
    figures: &mut Figures,
    python: &PyroPython,
    servers: &Servers,
    load: (&str, &str, usize),
    targets: (f64, f64),
    seconds: Duration,
) -> Result<()> {
    let (what, mode, count) = load;
    let theirs = python
        .clients(mode, count, &servers.daemon, seconds)
        .await?;
    let ours = python
        .clients(mode, count, &servers.worker, seconds)
        .await?;
    figures.rates(what, ours.per_second, theirs.per_second, targets.0);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    for (whose, run) in [("Pyro5", &theirs), ("Pyroxene", &ours)] {
        let name = format!("{what}, processor time of a call: {whose}");
        figures.add(Figure::new(name, milliseconds(run.server_cpu), "ms"));
    }
    let ratio = ours.server_cpu.as_secs_f64() / theirs.server_cpu.as_secs_f64();
    let name = format!("{what}, processor time of a call: Pyroxene ÷ Pyro5");
    figures.add(Figure::new(name, ratio, "×").target(FigureTarget::AtMost(targets.1)));
    Ok(())
}

async fn unmodified(
    figures: &mut Figures,
    python: &PyroPython,
    servers: &Servers,
    seconds: Duration,
) -> Result<()> {
    let what = format!("null calls of {PROCESSES} unmodified clients");
    let load = (&*what, "call", PROCESSES);
    both(figures, python, servers, load, (1.3, 0.1), seconds).await
}

async fn bytes(
    figures: &mut Figures,
    python: &PyroPython,
    servers: &Servers,
    seconds: Duration,
) -> Result<()> {
    let load = ("8 MB of bytes there and back", "bytes", 1);
    both(figures, python, servers, load, (1.2, 0.3), seconds).await
}

async fn batches(figures: &mut Figures, servers: &Servers, seconds: Duration) -> Result<()> {
    let batch = wire::batch(OBJECT, "other", BATCH)?;
    let what = format!("calls in batches of {BATCH}");
    let theirs = repeat(servers.daemon.address(), OBJECT, &batch, 1, seconds).await?;
    let ours = repeat(servers.worker.address(), OBJECT, &batch, 1, seconds).await?;
    let calls = |measured: &Measurement| measured.per_second() * BATCH as f64;
    figures.rates(&what, calls(&ours), calls(&theirs), 5.0);
    Ok(())
}

async fn look_ups(figures: &mut Figures, servers: &Servers, seconds: Duration) -> Result<()> {
    const NAME_SERVER: &str = "Pyro.NameServer";
    const NAME: &str = "bench.name";
    let what = format!("look-ups over {LOOK_UPS} connections");
    let (register, call) = (wire::register(NAME)?, wire::look_up(NAME)?);
    let (ours, theirs) = (
        servers.nameserver.address(),
        servers.pyro_nameserver.address(),
    );
    for address in [ours, theirs] {
        for mut client in wire::connect(address, NAME_SERVER, &register, 1).await? {
            client.once().await?;
        }
    }
    let theirs = repeat(theirs, NAME_SERVER, &call, LOOK_UPS, seconds).await?;
    let ours = repeat(ours, NAME_SERVER, &call, LOOK_UPS, seconds).await?;
    figures.rates(&what, ours.per_second(), theirs.per_second(), 10.0);
    Ok(())
}

async fn after_oneway(figures: &mut Figures, python: &PyroPython, servers: &Servers) -> Result<()> {
    let what = "a call after a oneway call";
    let theirs = python.after_oneway(&servers.daemon).await?;
    figures.add(Figure::new(format!("{what}: Pyro5"), theirs, "ms"));
    let ours = python.after_oneway(&servers.worker).await?;
    let ours = Figure::new(format!("{what}: Pyroxene"), ours, "ms");
    figures.add(ours.target(FigureTarget::AtMost(2.0)));
    Ok(())
}
