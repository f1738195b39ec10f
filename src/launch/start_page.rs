//! The start page: memory that the init shares with `create`, `run` and `start`.
//!
//! The init waits on a word of it for `start`, and leaves there why it failed. Neither needs a descriptor, and the report
//! no system call, so that no filter of system calls, limit or closed stream is in the way. After `create` the page is
//! a file of the state directory; for `run` it has no name. The mapping is gone once the program is executed.
//!
//! As soon as code of the image can run beside the init, what is read here is hostile: a process that may trace the init
//! may write to its memory. All that can come of that is that this container starts, or fails with other words.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::ftruncate;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::escape;
use crate::sys::allocator::taken;
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
    /// Not 0 while there is a helper thread.
    Helper = 4,
    /// What the init waits on until the helper thread has seen it wait.
    Entry = 5,
    /// Not 0 once the init has run.
    Begun = 6,
    /// [`TAKEN`] once the parent has done what it waits for in the pid namespace of others.
    Proceed = 7,
    /// Bytes that the init has allocated since its creation: for `--trace`.
    Allocated = 8,
}

/// The value of [`Word::Listener`] once the descriptor is handed over.
const TAKEN: u32 = u32::MAX;

/// The page.
pub struct StartPage {
    memory: Arc<SharedMemory>,
    /// What whoever watches the init reads in place of the memory. A process that may look at the init can reopen the file
    /// by /proc/PID/map_files and cut it: memory that is gone would end ferrun by SIGBUS.
    file: Option<OwnedFd>,
}

impl StartPage {
    fn of_file(file: OwnedFd) -> nix::Result<StartPage> {
        let memory = Arc::new(SharedMemory::of_file(&file, SIZE)?);
        Ok(StartPage { memory, file: Some(file) })
    }

    /// The page of a container whose `run` stays beside it; `seen`: others can look at the init.
    pub fn unnamed(seen: bool) -> Result<StartPage> {
        let what = || "create the start page";
        if !seen {
            let memory = Arc::new(SharedMemory::anonymous(SIZE).what(what)?);
            return Ok(StartPage { memory, file: None });
        }
        let file = memfd_create(c"start.page", MFdFlags::MFD_CLOEXEC).what(what)?;
        ftruncate(&file, SIZE as i64).and_then(|()| StartPage::of_file(file)).what(what)
    }

    /// The page of a container that `start` finds by its state directory.
    pub fn create(state: impl AsFd) -> Result<StartPage> {
        let what = || "create the start page";
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mut file = openat(state, FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from).what(what)?;
        // Not its length alone: a page that the file system has no room for would end the init by SIGBUS.
        file.write_all(&[0; SIZE]).what(what)?;
        StartPage::of_file(file.into()).what(what)
    }

    /// The page of a created container; `None` if it has none.
    pub fn open(state: impl AsFd) -> Result<Option<StartPage>> {
        let what = || "open the start page";
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(state, FILE, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            opened => opened.what(what)?,
        };
        let mode = fstat(&file).what(what)?.st_mode;
        match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFREG {
            true => StartPage::of_file(file).map(Some).what(what),
            false => Err(Error::new(format!("open the start page: {FILE} is another kind of file"))),
        }
    }

    /// The page as the init has it: the memory alone.
    pub(super) fn for_init(&self) -> StartPage {
        StartPage { memory: self.memory.clone(), file: None }
    }

    /// The memory of a word, for the init.
    fn word(&self, word: Word) -> &AtomicU32 {
        self.memory.word(word as usize)
    }

    /// The value of a word. What the file does not have any more is 0.
    fn value(&self, word: Word) -> u32 {
        let Some(file) = &self.file else { return self.word(word).load(Acquire) };
        let mut bytes = [0; 4];
        let _ = pread(file, &mut bytes, word as libc::off_t * 4);
        u32::from_ne_bytes(bytes)
    }

    fn set(&self, word: Word, value: u32) {
        match &self.file {
            // A word that cannot be set is seen by who waits for what comes of it.
            Some(file) => drop(pwrite(file, &value.to_ne_bytes(), word as libc::off_t * 4)),
            None => self.word(word).store(value, Release),
        }
    }

    /// Whether the init has run at all. What is killed as it is born has not.
    pub fn has_begun(&self) -> bool {
        self.value(Word::Begun) != 0
    }

    /// The init runs.
    pub(super) fn set_begun(&self) {
        self.word(Word::Begun).store(1, Release);
    }

    /// The init may go on.
    pub(super) fn set_proceed(&self) {
        self.set(Word::Proceed, TAKEN);
    }

    /// The word that says so.
    pub(super) fn proceed_word(&self) -> &AtomicU32 {
        self.word(Word::Proceed)
    }

    /// How far the init is.
    pub fn phase(&self) -> Phase {
        match self.value(Word::Phase) {
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

    /// Bytes that the init has allocated, when it last recorded them.
    pub fn allocated(&self) -> u32 {
        self.value(Word::Allocated)
    }

    /// Records what the init has allocated.
    pub(super) fn set_allocated(&self) {
        self.word(Word::Allocated).store(u32::try_from(taken()).unwrap_or(u32::MAX), Release);
    }

    /// Waits until the phase is no more `phase`, for at most that long.
    pub(super) fn wait_while(&self, phase: Phase, timeout: Option<Duration>) {
        if shared::wait(self.word(Word::Phase), phase as u32, timeout) == Err(Errno::EFAULT) {
            // The memory is gone, for the init as well.
            timeout.into_iter().for_each(std::thread::sleep);
        }
    }

    /// Starts the init, if it waits. False: it was started before. Of several at once the lock of the state directory lets
    /// one in after the other.
    pub fn start(&self) -> bool {
        let first = self.phase() == Phase::Waiting;
        if first {
            self.set(Word::Phase, Phase::Started as u32);
        }
        // One that was killed in between has woken up nobody.
        self.wake();
        first
    }

    /// The word on which the init waits until the helper thread has moved it to that of the phase.
    pub(super) fn entry_word(&self) -> &AtomicU32 {
        self.word(Word::Entry)
    }

    /// Whether the thread that installs the filter is still there, which may keep more rights than the program has.
    pub(super) fn has_helper(&self) -> bool {
        self.value(Word::Helper) != 0
    }

    /// The word that the kernel clears when that thread ends.
    pub(super) fn helper_word(&self) -> &AtomicU32 {
        self.word(Word::Helper)
    }

    /// The word for the number of a listener.
    pub(super) fn listener_word(&self) -> &AtomicU32 {
        self.word(Word::Listener)
    }

    /// The number of the descriptor that the filter's agent is to have, once the filter is installed.
    pub(super) fn listener(&self) -> Option<i32> {
        let word = self.value(Word::Listener);
        word.checked_sub(1).filter(|_| word != TAKEN).and_then(|number| i32::try_from(number).ok())
    }

    /// The init, or its helper thread, has installed a filter with a listener of this number.
    pub(super) fn set_listener(&self, number: i32) {
        self.word(Word::Listener).store(number.unsigned_abs() + 1, Release);
    }

    /// The agent has the descriptor, or the parent has it for the agent.
    pub(super) fn set_taken(&self) {
        self.set(Word::Listener, TAKEN);
    }

    /// Which of the startContainer hooks runs.
    pub(super) fn hook(&self) -> Option<usize> {
        self.value(Word::Hook).checked_sub(1).map(|index| index as usize)
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
            self.memory.write(REPORT, &json);
            self.word(Word::Length).store(json.len() as u32, Release);
        }
    }

    /// The reason of a failure, if one was left: no more of it than an error can be, and no control characters.
    pub fn reported(&self) -> Option<Error> {
        let length = (self.value(Word::Length) as usize).min(LONGEST);
        if length == 0 {
            return None;
        }
        let text = match &self.file {
            Some(file) => {
                let mut text = vec![0; length];
                let read = pread(file, &mut text, REPORT as libc::off_t).unwrap_or(0);
                text.truncate(read);
                text
            }
            None => self.memory.read(REPORT, length),
        };
        let unreadable = |_| Error::new("the container's first process failed, and its report is unreadable");
        Some(serde_json::from_slice(&text).map(harmless).unwrap_or_else(unreadable))
    }
}

/// The longest text of an error that does not fit otherwise: JSON takes up to six bytes for a character.
const LONGEST_TEXT: usize = 1300;

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
        kind: if matches!(error.kind, ErrorKind::Hook | ErrorKind::Fault) { error.kind } else { ErrorKind::Other },
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
        let page = StartPage::unnamed(false).unwrap();
        assert!(!page.start(), "nobody waits yet");
        assert_eq!(page.phase(), Phase::SettingUp);
        page.set_phase(Phase::Waiting);
        assert!(page.start() && !page.start());
        assert_eq!(page.phase(), Phase::Started);
    }

    #[test]
    fn a_report_arrives_bounded_and_without_control_characters() {
        let page = StartPage::unnamed(false).unwrap();
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
    fn a_file_that_is_cut_ends_nobody() {
        let page = StartPage::unnamed(true).unwrap();
        page.for_init().set_phase(Phase::Waiting);
        page.for_init().report(&Error::new("reason"));
        assert_eq!((page.phase(), page.reported()), (Phase::Waiting, Some(Error::new("reason"))));
        ftruncate(page.file.as_ref().unwrap(), 0).unwrap();
        assert_eq!((page.phase(), page.hook(), page.reported()), (Phase::SettingUp, None, None));
        page.wait_while(Phase::SettingUp, Some(Duration::from_millis(1)));
        assert!(!page.start());
    }

    #[test]
    fn what_is_forged_is_an_error_like_others() {
        let page = StartPage::unnamed(false).unwrap();
        for (length, text) in [(u32::MAX, &b"{\"message\":"[..]), (1, b"x"), (SIZE as u32, b"")] {
            page.memory.write(REPORT, text);
            page.word(Word::Length).store(length, Release);
            assert!(page.reported().unwrap().message.contains("unreadable"));
        }
        let forged = br#"{"message":"m","errno":-7,"detail":null,"pointer":"x","place":"\u0007","hint":null}"#;
        page.memory.write(REPORT, forged);
        page.word(Word::Length).store(forged.len() as u32, Release);
        assert_eq!(page.reported(), Some(Error::new("m")));
        for word in [0, 1, TAKEN, i32::MAX as u32 + 2] {
            page.word(Word::Listener).store(word, Release);
            assert_eq!(page.listener(), if word == 1 { Some(0) } else { None });
        }
    }
}
