//! Ctrl-C, and the signals that schedulers send before they kill.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag::{register, register_conditional_shutdown};

/// Set by the first signal.
static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Exit code of a run that was interrupted and saved, and of one that a second signal ended at once: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// From now on the first signal ends the process at once: for work after a run that a kill does not harm.
pub fn end_at_first_signal() {
    if let Some(asked) = ASKED.get() {
        asked.store(true, Ordering::SeqCst);
    }
}

/// Asks whether the user wants the run to end.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for SIGINT, SIGTERM, SIGQUIT and SIGHUP (Ctrl-C, Slurm's and Kubernetes' notice, a closed terminal). The first asks the
    /// run to save and end, the second ends the process at once: the files on disk are always complete.
    #[must_use]
    pub fn listen() -> Self {
        let asked = ASKED.get_or_init(|| {
            let asked = Arc::new(AtomicBool::new(false));
            #[cfg(unix)]
            let signals = TERM_SIGNALS.iter().chain([&signal_hook::consts::SIGHUP]);
            #[cfg(not(unix))]
            let signals = TERM_SIGNALS.iter();
            for &signal in signals {
                // In this order: a handler that finds the flag set by an earlier signal ends the process, then the flag is set.
                // A signal that can't be listened to keeps its own effect.
                let _ = register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&asked))
                    .and_then(|_| register(signal, Arc::clone(&asked)));
            }
            asked
        });
        Self(Arc::clone(asked))
    }

    /// Whether a signal came.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
