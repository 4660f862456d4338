//! Work that would keep a thread of the runtime from everybody else.

use crate::codec::lend::Parts;
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

/// Bodies from this size on, in bytes, are decoded and encoded apart. Smaller ones hold others up for a
/// few milliseconds at most, while it costs them more to change threads than to be decoded.
pub(super) const WORTHWHILE: usize = 16 * 1024 * 1024;

/// Does the work while another thread serves everybody else. On a runtime that has only the one
/// thread it is done in place.
pub(super) fn apart<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => {
            wake_who_gave_way();
            block_in_place(|| {
                let _place = Place::take();
                work()
            })
        }
        _ => work(),
    }
}

/// Whether the encoding of a value is so large, without its parts that are not copied. Finding out
/// takes no longer than encoding a value of that size, and next to nothing for bulk values. One whose
/// encoder panics is not large: that is for whoever encodes it to tell.
pub(super) fn is_worthwhile<T: Serialize>(value: &T, parts: Parts<T>) -> bool {
    let lent: usize = parts(value).into_iter().map(<[u8]>::len).sum();
    let look = || crate::codec::is_longer_than(WORTHWHILE.saturating_add(lent), value);
    catch_unwind(AssertUnwindSafe(look)).unwrap_or(false)
}

/// A place among those who work apart. There is one for every two cores, since those who serve
/// everybody else need a core too.
struct Place;

static FREE: LazyLock<Mutex<usize>> = LazyLock::new(|| {
    Mutex::new(available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
});
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let free = FREED.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}

/// How many of those who gave way are remembered, on each thread.
const REMEMBERED: usize = 64;

thread_local! {
    /// Tasks that gave way on this thread, and may wait for it to come to its end.
    static GAVE_WAY: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Has the task polled again, after every other that is ready: the runtime looks at its sockets
/// before it polls a task that yielded.
pub(super) fn give_way(context: &mut Context<'_>) {
    GAVE_WAY.with_borrow_mut(|tasks| {
        if tasks.iter().any(|task| task.will_wake(context.waker())) {
            return;
        }
        if tasks.len() >= REMEMBERED {
            tasks.drain(..).for_each(Waker::wake);
        }
        tasks.push(context.waker().clone());
    });
    let yielded = pin!(yield_now());
    let _ = yielded.poll(context);
}

/// The runtime keeps tasks that yielded with the thread that they yielded on. One that is about to
/// work apart would take them along; this leaves them to the thread that steps in.
fn wake_who_gave_way() {
    let tasks = GAVE_WAY.take();
    tasks.into_iter().for_each(Waker::wake);
}
