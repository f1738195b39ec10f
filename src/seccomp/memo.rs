//! Answers that are kept once many questions are asked: most profiles ask few, and pay nothing for it.

use std::collections::BTreeMap;

/// How many questions are answered anew each time.
const FEW: usize = 256;

/// Answers by their questions.
#[derive(Debug)]
pub struct Memo<K, V> {
    asked: usize,
    known: BTreeMap<K, V>,
}

impl<K: Ord, V: Copy> Memo<K, V> {
    /// No answers.
    pub fn new() -> Memo<K, V> {
        Memo { asked: 0, known: BTreeMap::new() }
    }

    /// The answer, if it was kept.
    pub fn get(&mut self, question: &K) -> Option<V> {
        self.asked += 1;
        if self.asked > FEW { self.known.get(question).copied() } else { None }
    }

    /// Keeps an answer, if there are many.
    pub fn keep(&mut self, question: K, answer: V) {
        if self.asked > FEW {
            self.known.insert(question, answer);
        }
    }
}
