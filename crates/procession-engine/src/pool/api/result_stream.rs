//! Results that are fetched one by one, in order, with a bound on how many tasks are ahead.
//!
//! A task is *ahead* from the moment in which it is made until its result is fetched. The thread
//! that makes tasks asks [`is_full`](ResultStream::is_full) before each; the thread that fetches
//! results is told when more tasks are to be made.

use std::collections::{HashMap, VecDeque};

/// Inputs that are ahead at the most: enough to keep many workers busy with tiny tasks, few
/// enough to hold in memory.
const MOST_INPUTS: usize = 4096;

/// Bytes of results that are kept until somebody fetches them. More are kept only if workers would
/// have nothing to do otherwise.
const MOST_BYTES: usize = 16 << 20;

/// The order in which results are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultOrder {
    /// That of the tasks.
    OfTasks,
    /// That in which they arrive.
    OfArrivals,
}

/// Bounds how many tasks are ahead.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// So many inputs may be ahead whatever the size of the results, or workers would be idle.
    least: usize,
    /// So many inputs may be ahead if their results are small.
    most: usize,
}

impl StreamLimits {
    /// Returns the limits for a pool of `workers` and tasks of `inputs` each.
    #[must_use]
    pub fn new(workers: usize, inputs: usize) -> Self {
        let least = 2 * workers.max(1);
        Self {
            least,
            most: (MOST_INPUTS / inputs.max(1)).max(2 * least),
        }
    }
}

/// The results of tasks that are numbered from 0.
#[derive(Debug)]
pub struct ResultStream<R> {
    order: ResultOrder,
    /// `None` if any number of tasks may be ahead.
    limits: Option<StreamLimits>,
    /// Results that may be fetched, in order.
    ready: VecDeque<Stored<R>>,
    /// Results that wait for results of earlier tasks, by the number of the task.
    early: HashMap<usize, Stored<R>>,
    /// Bytes of `ready` and `early`.
    bytes: usize,
    /// How many results have been ready so far, fetched ones included.
    arrived: usize,
    fetched: usize,
    /// How many tasks had been made when the stream was last found full.
    made: usize,
    /// Whether the stream was found full, so that no more tasks are made for now.
    paused: bool,
    /// How many results there will be, once that is known.
    length: Option<usize>,
    /// Whether results that come are thrown away, as nobody will fetch them.
    closed: bool,
}

#[derive(Debug)]
struct Stored<R> {
    result: R,
    /// How many bytes the result was received as.
    size: usize,
}

/// What a fetch has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched<R> {
    /// The next result; `resume` says that tasks are to be made again.
    Result {
        /// The result.
        result: R,
        /// Whether the stream was full before, and has room now.
        resume: bool,
    },
    /// There will be no more.
    End,
    /// The next one has yet to come.
    NothingYet,
}

impl<R> ResultStream<R> {
    /// Makes a stream. Without limits it keeps any number of results.
    #[must_use]
    pub fn new(order: ResultOrder, limits: Option<StreamLimits>) -> Self {
        Self {
            order,
            limits,
            ready: VecDeque::new(),
            early: HashMap::new(),
            bytes: 0,
            arrived: 0,
            fetched: 0,
            made: 0,
            paused: false,
            length: None,
            closed: false,
        }
    }

    /// Takes the result of the task of that number, which came in `size` bytes. Gives it back
    /// if nobody will fetch it: the caller drops it without any lock.
    pub fn arrive(&mut self, number: usize, size: usize, result: R) -> Option<R> {
        if self.closed {
            self.arrived += 1;
            return Some(result);
        }
        self.bytes += size;
        let stored = Stored { result, size };
        if self.order == ResultOrder::OfTasks && number != self.arrived {
            let replaced = self.early.insert(number, stored);
            return replaced.map(|stored| stored.result);
        }
        let mut next = Some(stored);
        while let Some(stored) = next {
            self.ready.push_back(stored);
            self.arrived += 1;
            next = self.early.remove(&self.arrived);
        }
        None
    }

    /// Fetches the next result.
    pub fn fetch(&mut self) -> Fetched<R> {
        let Some(Stored { result, size }) = self.ready.pop_front() else {
            return match self.has_news() {
                true => Fetched::End,
                false => Fetched::NothingYet,
            };
        };
        self.bytes -= size;
        self.fetched += 1;
        let resume = self.paused && self.has_room(self.made, 2);
        self.paused &= !resume;
        Fetched::Result { result, resume }
    }

    /// Tells whether there is a result to fetch, or will never be one.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.ready.is_empty() || self.closed || self.is_complete()
    }

    /// Tells whether all results were ready.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.length == Some(self.arrived)
    }

    /// Says how many results there will be.
    pub fn set_length(&mut self, length: usize) {
        self.length = Some(length);
    }

    /// Returns how many results there will be, if that is known.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.length
    }

    /// Returns how many results were ready so far.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.arrived
    }

    /// Returns how many tasks are ahead, after so many were made.
    #[must_use]
    pub fn ahead(&self, made: usize) -> usize {
        made.saturating_sub(self.fetched)
    }

    /// Tells whether `1 / part` of all that may be ahead could be made, after so many tasks were
    /// made.
    #[must_use]
    pub fn has_room(&self, made: usize, part: usize) -> bool {
        let Some(StreamLimits { least, most }) = self.limits else {
            return true;
        };
        let ahead = self.ahead(made);
        ahead < least || ahead < most / part && self.bytes < MOST_BYTES / part
    }

    /// Tells whether no more tasks are to be made for now, after so many were made. Then a later
    /// [`fetch`](Self::fetch) says when to go on.
    pub fn is_full(&mut self, made: usize) -> bool {
        let is_full = !self.has_room(made, 1);
        self.paused |= is_full;
        self.made = made;
        is_full
    }

    /// Lifts the limits, because no result will be fetched before all are there. Tells whether the
    /// thread that makes tasks had stopped, and is to go on.
    pub fn make_all(&mut self) -> bool {
        self.limits = None;
        std::mem::take(&mut self.paused)
    }

    /// Says that nobody will fetch what is there and what comes. Returns what is there: the
    /// caller drops it without any lock.
    pub fn close(&mut self) -> Vec<R> {
        self.closed = true;
        self.bytes = 0;
        // They count as ready, although nobody will fetch them.
        self.arrived += self.early.len();
        self.take_all()
    }

    /// Takes out the results that are there.
    pub fn take_all(&mut self) -> Vec<R> {
        let early = std::mem::take(&mut self.early).into_values();
        let ready = std::mem::take(&mut self.ready).into_iter();
        ready.chain(early).map(|stored| stored.result).collect()
    }

    /// Yields the results that are there.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        let all = self.ready.iter().chain(self.early.values());
        all.map(|stored| &stored.result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(order: ResultOrder) -> ResultStream<usize> {
        ResultStream::new(order, Some(StreamLimits::new(2, 1)))
    }

    fn fetched(stream: &mut ResultStream<usize>) -> Option<usize> {
        match stream.fetch() {
            Fetched::Result { result, .. } => Some(result),
            Fetched::End | Fetched::NothingYet => None,
        }
    }

    #[test]
    fn results_wait_for_those_before_them_if_they_are_ordered() {
        let mut ordered = stream(ResultOrder::OfTasks);
        let mut unordered = stream(ResultOrder::OfArrivals);
        for number in [2, 1, 3] {
            ordered.arrive(number, 1, number);
            unordered.arrive(number, 1, number);
        }
        assert_eq!(ordered.fetch(), Fetched::NothingYet);
        assert!(!ordered.has_news());
        assert_eq!(
            [(); 3].map(|()| fetched(&mut unordered)),
            [2, 1, 3].map(Some)
        );
        ordered.arrive(0, 1, 0);
        let all = [(); 4].map(|()| fetched(&mut ordered));
        assert_eq!(all, [0, 1, 2, 3].map(Some));
        assert_eq!(ordered.fetch(), Fetched::NothingYet);
        ordered.set_length(4);
        assert!(ordered.is_complete());
        assert_eq!(ordered.fetch(), Fetched::End);
    }

    #[test]
    fn tasks_are_made_again_when_half_of_the_room_is_there() {
        let mut stream = stream(ResultOrder::OfTasks);
        assert!(!stream.is_full(MOST_INPUTS - 1) && stream.is_full(MOST_INPUTS));
        for number in 0..MOST_INPUTS {
            stream.arrive(number, 1, number);
        }
        let resumed =
            (0..).find(|_| matches!(stream.fetch(), Fetched::Result { resume: true, .. }));
        assert_eq!(resumed, Some(MOST_INPUTS / 2));
        let again =
            (0..100).any(|_| matches!(stream.fetch(), Fetched::Result { resume: true, .. }));
        assert!(!again);
    }

    #[test]
    fn large_results_leave_each_worker_something_to_do() {
        let mut stream = stream(ResultOrder::OfTasks);
        stream.arrive(1, MOST_BYTES, 1);
        assert!(!stream.is_full(3) && stream.is_full(4));
        assert!(stream.make_all() && !stream.is_full(usize::MAX));
    }

    #[test]
    fn what_a_closed_stream_gets_is_given_back() {
        let mut stream = stream(ResultOrder::OfTasks);
        stream.arrive(0, 1, 0);
        stream.arrive(2, 1, 2);
        assert_eq!(stream.close(), [0, 2]);
        assert_eq!(stream.arrive(1, 1, 1), Some(1));
        assert_eq!((stream.fetch(), stream.arrived()), (Fetched::End, 3));
    }
}
