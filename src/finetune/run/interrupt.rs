//! Ctrl-C, and the signals that schedulers send before they kill.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Signals so far.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);
static HANDLER: OnceLock<bool> = OnceLock::new();

/// Exit code of a run that was interrupted and saved, and of one that a second signal ended at once: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Asks whether the user wants the run to end.
#[derive(Clone, Copy, Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Listens for SIGINT, SIGTERM and SIGHUP (Ctrl-C, Slurm's and Kubernetes' notice, a closed terminal). The first asks the run to
    /// save and end, the second ends the process at once. Where another part of the program listens already, none is heard here.
    #[must_use]
    pub fn listen() -> Self {
        HANDLER.get_or_init(|| {
            ctrlc::set_handler(|| {
                if SIGNALS.fetch_add(1, Ordering::SeqCst) > 0 {
                    #[expect(clippy::exit, reason = "the user asked twice; whatever is on disk is whole")]
                    std::process::exit(i32::from(INTERRUPTED));
                }
                eprintln!("\nsaving after this step; once more ends at once");
            })
            .is_ok()
        });
        Self(())
    }

    /// Whether a signal came.
    #[must_use]
    pub fn is_asked(self) -> bool {
        SIGNALS.load(Ordering::SeqCst) > 0
    }
}
