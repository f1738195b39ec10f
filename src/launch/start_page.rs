//! The start page: memory that the init shares with `create`, `run` and `start`.
//!
//! The init waits on a word of it for `start`, and leaves there why it failed. Neither needs a descriptor, and the report
//! no system call, so that no filter of system calls, limit or closed stream is in the way. After `create` the page is
//! a file of the state directory; for `run` it has no name. The mapping is gone once the program is executed.
//!
//! As soon as code of the image can run beside the init, what is read here is hostile: a process that may trace the init
//! may write to its memory. All that can come of that is that this container starts, or fails with other words.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::error::{Context, Error, Result};
use crate::escape;
use crate::sys::shared::{self, SharedMemory};

/// The name of its file.
pub const FILE: &str = "start.page";

const SIZE: usize = 32 * 1024;
/// Where the report begins, in bytes, and how long it can be.
const REPORT: usize = 64;
const LONGEST: usize = SIZE - REPORT;

/// How far the init is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It sets up the container.
    SettingUp = 0,
    /// All is done, and it waits for `start`.
    Waiting = 1,
    /// It was started, and runs its hooks.
    Started = 2,
    /// It executes the program: there is nothing left that can fail but execve(2) itself, which it would report.
    Executing = 3,
}

/// The words of the page, by index.
#[derive(Clone, Copy)]
enum Word {
    Phase = 0,
    /// The number of the descriptor of a filter's listener and 1, or 0; then [`TAKEN`].
    Listener = 1,
    /// The index of the startContainer hook that runs and 1, or 0.
    Hook = 2,
    /// The length of the report, or 0.
    Length = 3,
    /// Whether the helper thread has installed the filter.
    Confined = 4,
    /// What the init waits on until the helper thread has seen it wait.
    Entry = 5,
}

/// The value of [`Word::Listener`] once the descriptor is handed over.
const TAKEN: u32 = u32::MAX;

/// The page.
#[derive(Clone)]
pub struct StartPage(Arc<SharedMemory>);

impl StartPage {
    fn of(memory: SharedMemory) -> StartPage {
        StartPage(Arc::new(memory))
    }

    /// The page of a container whose `run` stays beside it.
    pub fn anonymous() -> Result<StartPage> {
        SharedMemory::anonymous(SIZE).map(StartPage::of).what(|| "map the start page")
    }

    /// The page of a container that `start` finds by its state directory.
    pub fn create(state: impl AsFd) -> Result<StartPage> {
        let what = || "create the start page";
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(state, FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from).what(what)?;
        file.set_len(SIZE as u64).what(what)?;
        SharedMemory::of_file(&file, SIZE).map(StartPage::of).what(what)
    }

    /// The page of a created container; `None` if it has none.
    pub fn open(state: impl AsFd) -> Result<Option<StartPage>> {
        let what = || "open the start page";
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(state, FILE, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            opened => opened.map(File::from).what(what)?,
        };
        let stat = fstat(&file).what(what)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG || stat.st_size != SIZE as i64 {
            return Err(Error::new(format!("open the start page: {FILE} is another kind of file")));
        }
        SharedMemory::of_file(&file, SIZE).map(|memory| Some(StartPage::of(memory))).what(what)
    }

    fn word(&self, word: Word) -> &AtomicU32 {
        self.0.word(word as usize)
    }

    /// How far the init is.
    pub fn phase(&self) -> Phase {
        match self.word(Word::Phase).load(Acquire) {
            0 => Phase::SettingUp,
            1 => Phase::Waiting,
            2 => Phase::Started,
            _ => Phase::Executing,
        }
    }

    /// The init, or its helper thread, is that far.
    pub(super) fn set_phase(&self, phase: Phase) {
        self.word(Word::Phase).store(phase as u32, Release);
    }

    /// The word that the init waits on in a phase.
    pub(super) fn phase_word(&self) -> &AtomicU32 {
        self.word(Word::Phase)
    }

    /// Wakes up whoever waits for the phase to change.
    pub(super) fn wake(&self) {
        shared::wake(self.word(Word::Phase));
    }

    /// Waits until the phase is no more `phase`, for at most that long.
    pub(super) fn wait_while(&self, phase: Phase, timeout: Option<Duration>) {
        let _ = shared::wait(self.word(Word::Phase), phase as u32, timeout);
    }

    /// Starts the init, if it waits. False: it was started before.
    pub fn start(&self) -> bool {
        let (waiting, started) = (Phase::Waiting as u32, Phase::Started as u32);
        let first = self.word(Word::Phase).compare_exchange(waiting, started, AcqRel, Acquire).is_ok();
        // One that was killed in between has woken up nobody.
        self.wake();
        first
    }

    /// The word on which the init waits until the helper thread has moved it to that of the phase.
    pub(super) fn entry_word(&self) -> &AtomicU32 {
        self.word(Word::Entry)
    }

    /// Whether the helper thread has installed the filter.
    pub(super) fn is_confined(&self) -> bool {
        self.confined_word().load(Acquire) != 0
    }

    /// The word that the helper thread sets then.
    pub(super) fn confined_word(&self) -> &AtomicU32 {
        self.word(Word::Confined)
    }

    /// The word for the number of a listener.
    pub(super) fn listener_word(&self) -> &AtomicU32 {
        self.word(Word::Listener)
    }

    /// The number of the descriptor that the filter's agent is to have, once the filter is installed.
    pub(super) fn listener(&self) -> Option<i32> {
        let word = self.word(Word::Listener).load(Acquire);
        word.checked_sub(1).filter(|_| word != TAKEN).and_then(|number| i32::try_from(number).ok())
    }

    /// The init, or its helper thread, has installed a filter with a listener of this number.
    pub(super) fn set_listener(&self, number: i32) {
        self.word(Word::Listener).store(number.unsigned_abs() + 1, Release);
    }

    /// The agent has the descriptor.
    pub(super) fn set_taken(&self) {
        self.word(Word::Listener).store(TAKEN, Release);
    }

    /// Whether the agent has the descriptor.
    pub(super) fn is_taken(&self) -> bool {
        self.word(Word::Listener).load(Acquire) == TAKEN
    }

    /// Which of the startContainer hooks runs.
    pub(super) fn hook(&self) -> Option<usize> {
        self.word(Word::Hook).load(Acquire).checked_sub(1).map(|index| index as usize)
    }

    /// The init runs this hook, or none any more.
    pub(super) fn set_hook(&self, index: Option<usize>) {
        let word = index.map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX));
        self.word(Word::Hook).store(word, Release);
    }

    /// Leaves the reason of a failure, cut to what there is room for.
    pub(super) fn report(&self, error: &Error) {
        let mut json = serde_json::to_vec(error).unwrap_or_default();
        if json.len() > LONGEST {
            json = serde_json::to_vec(&cut(error)).unwrap_or_default();
        }
        if json.len() <= LONGEST {
            self.0.write(REPORT, &json);
            self.word(Word::Length).store(json.len() as u32, Release);
        }
    }

    /// The reason of a failure, if one was left: no more of it than an error can be, and no control characters.
    pub fn reported(&self) -> Option<Error> {
        let length = self.word(Word::Length).load(Acquire) as usize;
        if length == 0 {
            return None;
        }
        let text = self.0.read(REPORT, length.min(LONGEST));
        let unreadable = |_| Error::new("the container's first process failed, and its report is unreadable");
        Some(serde_json::from_slice(&text).map(harmless).unwrap_or_else(unreadable))
    }
}

/// The longest text of an error that does not fit otherwise: JSON takes up to six bytes for a character.
const LONGEST_TEXT: usize = 2000;

fn cut(error: &Error) -> Error {
    let cut = |text: &str| text.chars().take(LONGEST_TEXT).collect::<String>();
    let part = |part: &Option<Box<str>>| part.as_deref().map(|text| cut(text).into());
    Error {
        message: cut(&error.message),
        detail: part(&error.detail),
        pointer: part(&error.pointer),
        hint: part(&error.hint),
        ..error.clone()
    }
}

/// An error that others may have forged: what is printed of it can do no harm to a terminal.
fn harmless(error: Error) -> Error {
    let part = |part: Option<Box<str>>| part.map(|text| Box::<str>::from(escape::part(&text)));
    Error {
        message: escape::part(&error.message).into_owned(),
        errno: if (0..4096).contains(&error.errno) { error.errno } else { 0 },
        detail: part(error.detail),
        pointer: part(error.pointer).filter(|pointer| pointer.starts_with('/')),
        place: None,
        hint: part(error.hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_start_wins() {
        let page = StartPage::anonymous().unwrap();
        assert!(!page.start(), "nobody waits yet");
        assert_eq!(page.phase(), Phase::SettingUp);
        page.set_phase(Phase::Waiting);
        assert!(page.start() && !page.start());
        assert_eq!(page.phase(), Phase::Started);
    }

    #[test]
    fn a_report_arrives_bounded_and_without_control_characters() {
        let page = StartPage::anonymous().unwrap();
        assert_eq!(page.reported(), None);
        let error = Error::os("exec \u{1b}[31m", Errno::ENOENT).from_property("/process/args");
        page.report(&error);
        let reported = page.reported().unwrap();
        assert_eq!(reported.message, "exec \\u{1b}[31m");
        assert_eq!((reported.code(), reported.pointer.as_deref()), (Errno::ENOENT, Some("/process/args")));
        page.report(&Error::new("\u{1}".repeat(100_000)));
        assert_eq!(page.reported().unwrap().message.len(), LONGEST_TEXT * "\\u{1}".len());
    }

    #[test]
    fn what_is_forged_is_an_error_like_others() {
        let page = StartPage::anonymous().unwrap();
        for (length, text) in [(u32::MAX, &b"{\"message\":"[..]), (1, b"x"), (SIZE as u32, b"")] {
            page.0.write(REPORT, text);
            page.word(Word::Length).store(length, Release);
            assert!(page.reported().unwrap().message.contains("unreadable"));
        }
        let forged = br#"{"message":"m","errno":-7,"detail":null,"pointer":"x","place":"\u0007","hint":null}"#;
        page.0.write(REPORT, forged);
        page.word(Word::Length).store(forged.len() as u32, Release);
        assert_eq!(page.reported(), Some(Error::new("m")));
        for word in [0, 1, TAKEN, i32::MAX as u32 + 2] {
            page.word(Word::Listener).store(word, Release);
            assert_eq!(page.listener(), if word == 1 { Some(0) } else { None });
        }
    }
}
