//! Keeps the runtime's clock going beside handlers that block.
//!
//! One of the runtime's threads waits for timers and sockets at a time, and hands that over when it
//! has nothing to do. A handler that blocks just this thread stops them for everybody: no deadline, no sign
//! of life, although other threads are idle. Work from outside of the runtime wakes one of these.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, Thread};
use std::time::Duration;

use tokio::runtime::Handle;

/// How late a deadline may be because of that. So often the thread looks while handlers run.
const EVERY: Duration = Duration::from_millis(500);

/// A thread of its own. It ends when this is dropped, and sleeps while no handler runs.
#[derive(Debug)]
pub(super) struct Watch {
    state: Arc<State>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct State {
    handlers: AtomicUsize,
    /// The thread waits for the first.
    asleep: AtomicBool,
    end: AtomicBool,
}

/// A handler that runs.
#[derive(Debug)]
pub(super) struct Watched(Arc<State>);

impl Watch {
    /// In the runtime of the caller.
    pub(super) fn start() -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let (seen, runtime) = (Arc::clone(&state), Handle::current());
        let thread = Builder::new()
            .name("rolegate-watch".to_owned())
            .spawn(move || run(&seen, &runtime))?;
        Ok(Self {
            state,
            thread: thread.thread().clone(),
        })
    }

    /// Until what it gives back is dropped.
    pub(super) fn handler(&self) -> Watched {
        self.state.handlers.fetch_add(1, Ordering::SeqCst);
        if self.state.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Watched(Arc::clone(&self.state))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.state.end.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.handlers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn run(state: &State, runtime: &Handle) {
    while !state.end.load(Ordering::SeqCst) {
        if state.handlers.load(Ordering::SeqCst) > 0 {
            drop(runtime.spawn(async {}));
            std::thread::park_timeout(EVERY);
            continue;
        }
        state.asleep.store(true, Ordering::SeqCst);
        if state.handlers.load(Ordering::SeqCst) == 0 && !state.end.load(Ordering::SeqCst) {
            std::thread::park();
        }
        state.asleep.store(false, Ordering::SeqCst);
    }
}
