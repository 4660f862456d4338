//! Blocking work: large messages are encoded and decoded without blocking the other tasks of the runtime's
//! thread.

use crate::codec::zero_copy::LargeParts;
use serde::Serialize;
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Condvar, LazyLock, Mutex, PoisonError},
    task::{Context, Waker},
    thread::available_parallelism,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{block_in_place, yield_now},
};

/// Bodies of at least this size, in bytes, are decoded and encoded as blocking work. Smaller ones block a
/// thread for a few milliseconds at most, and changing threads would cost more than decoding them.
pub(super) const MIN_BLOCKING_BYTES: usize = 16 * 1024 * 1024;

/// Runs blocking work while another thread serves the other tasks. On a runtime with only one thread it runs
/// in place.
pub(super) fn run_blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => {
            wake_yielded();
            block_in_place(|| {
                let _place = BlockingPermit::take();
                work()
            })
        }
        _ => work(),
    }
}

/// Whether the encoding of a value, without its zero-copy parts, is large enough for [`apart`]. Counting
/// takes no longer than encoding a value of that size, and almost no time for bulk values. A value whose
/// encoder panics is not large: the caller that encodes it reports the panic.
pub(super) fn is_worth_blocking<T: Serialize>(value: &T, parts: LargeParts<T>) -> bool {
    let lent: usize = parts(value).into_iter().map(<[u8]>::len).sum();
    let look = || crate::codec::is_longer_than(MIN_BLOCKING_BYTES.saturating_add(lent), value);
    catch_unwind(AssertUnwindSafe(look)).unwrap_or(false)
}

/// A permit for blocking work. There is one permit for every two cores, because the threads that serve
/// connections need a core too.
struct BlockingPermit;

static FREE_PERMITS: LazyLock<Mutex<usize>> = LazyLock::new(|| {
    Mutex::new(available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
});
static PERMIT_RELEASED: Condvar = Condvar::new();

impl BlockingPermit {
    fn take() -> Self {
        let free = FREE_PERMITS.lock().unwrap_or_else(PoisonError::into_inner);
        let free = PERMIT_RELEASED.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Self
    }
}

impl Drop for BlockingPermit {
    fn drop(&mut self) {
        *FREE_PERMITS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        PERMIT_RELEASED.notify_one();
    }
}

/// How many yielded tasks are remembered on each thread.
const MAX_YIELDED: usize = 64;

thread_local! {
    /// Tasks that yielded on this thread, and that may wait for the thread to become free.
    static GAVE_WAY: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Yields: the task is polled again after every other task that is ready. The runtime checks its sockets
/// before it polls a task that yielded.
pub(super) fn yield_task(context: &mut Context<'_>) {
    GAVE_WAY.with_borrow_mut(|tasks| {
        if tasks.iter().any(|task| task.will_wake(context.waker())) {
            return;
        }
        if tasks.len() >= MAX_YIELDED {
            tasks.drain(..).for_each(Waker::wake);
        }
        tasks.push(context.waker().clone());
    });
    let yielded = pin!(yield_now());
    let _ = yielded.poll(context);
}

/// The runtime keeps tasks that yielded on their thread. If that thread then does blocking work, the tasks
/// would wait for it. Waking them lets the replacement thread run them.
fn wake_yielded() {
    let tasks = GAVE_WAY.take();
    tasks.into_iter().for_each(Waker::wake);
}
