//! A ferrun in the background, of which a test waits for something else meanwhile.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Bundle, Done, patience};

/// A running `ferrun`. Its errors go to a file of the bundle, as the init keeps the streams.
pub struct Running {
    child: Child,
    errors: std::path::PathBuf,
}

impl Running {
    pub fn spawn(bundle: &Bundle, args: &[&str]) -> Running {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let errors = bundle.dir.join(format!("{}-{number}.err", args[0]));
        let file = std::fs::File::create(&errors).unwrap();
        let child = bundle.command(args).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Running { child, errors }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Waits for its end, for at most 30 s.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        use std::os::unix::process::ExitStatusExt;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
            }
            assert!(begin.elapsed() < patience(30), "ferrun does not end: {}", self.errors());
            std::thread::sleep(Duration::from_millis(1));
        };
        Done { status, stdout: String::new(), stderr: self.errors() }
    }

    /// Kills ferrun itself, as an engine does at its deadline.
    pub fn kill(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill().and_then(|()| self.child.wait());
        }
    }
}
