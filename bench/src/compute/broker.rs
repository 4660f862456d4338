//! The same methods as calls of a client: the client finds the object at a name server, and a worker in
//! another process answers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use pyroxene_client::{Client, ClientConfig, Proxy};
use pyroxene_objects::interfaces::{
    calculator::{Calculator, calculator::CalculatorClient},
    hash::{Hash, hash::HashClient},
};
use tarpc::context::{self, Context};

use super::{FACTORIAL_N, Kernel, kernels::Kernels};
use crate::{daemon, process::ChildServer};

/// The message limit in bytes. The text of `Sha256` is larger than the default limit.
const MAX_MESSAGE: usize = 1 << 30;

/// A client of a name server and a worker.
pub(super) struct ComputeBroker {
    worker: ChildServer,
    calculator: CalculatorClient<Proxy<Calculator>>,
    hash: HashClient<Proxy<Hash>>,
    nameserver: ChildServer,
}

impl ComputeBroker {
    pub(super) async fn start() -> Result<Self> {
        let nameserver = daemon::start_nameserver().await?;
        let address = nameserver.address().to_string();
        let limit = format!("--max-message={MAX_MESSAGE}");
        let arguments = ["serve", "builtins", &address, "calculator,hash", &limit];
        let worker = ChildServer::start_this_program(&arguments).await?;
        let config = ClientConfig::new(&address)?.max_message(MAX_MESSAGE);
        let client = Client::connect_with(config).await?;
        Ok(Self {
            worker,
            calculator: client.object::<Calculator>("calculator").await?,
            hash: client.object::<Hash>("hash").await?,
            nameserver,
        })
    }

    /// The times of `repeats` calls, after one warm-up call that does not count.
    pub(super) async fn measure(&self, kernel: Kernel, kernels: &Kernels) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for _ in 0..=kernel.repeats() {
            times.push(self.once(kernel, kernels).await?);
        }
        Ok(times.split_off(1))
    }

    /// The time from the call to its answer. The input is made before the time starts.
    async fn once(&self, kernel: Kernel, kernels: &Kernels) -> Result<Duration> {
        let start;
        let succeeded = match kernel {
            Kernel::Factorial | Kernel::Digits => {
                start = Instant::now();
                let answer = self.calculator.factorial(context(), FACTORIAL_N).await?;
                answer.is_ok()
            }
            Kernel::Sort => {
                let numbers = kernels.numbers();
                start = Instant::now();
                let sorted = self.calculator.sort(context(), numbers).await??;
                let time = start.elapsed();
                if !sorted.0.is_sorted() {
                    bail!("the list is not sorted");
                }
                return Ok(time);
            }
            Kernel::Product => {
                let (left, right) = kernels.matrices();
                start = Instant::now();
                let product = self.calculator.matrix_multiply(context(), left, right);
                product.await?.is_ok()
            }
            Kernel::Sha256 => {
                let text = kernels.text();
                start = Instant::now();
                self.hash.sha256(context(), text).await?.len() == 64
            }
        };
        let time = start.elapsed();
        if !succeeded {
            bail!("a call failed");
        }
        Ok(time)
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.worker.stop().await?;
        self.nameserver.stop().await
    }
}

fn context() -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(60);
    context
}
