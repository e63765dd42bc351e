//! Types whose Serialize and Deserialize do not agree are refused, never read as
//! something else; those that agree arrive as they were.

mod watchdog;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use procession::{Error, Lock, Pool, Process, Queue, SelfDescribing, pipe};
use serde::de::DeserializeOwned;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use watchdog::watch;

/// What can be sent in a test.
trait Value: Serialize + DeserializeOwned + Debug + PartialEq + Clone + Send + 'static {}
impl<T: Serialize + DeserializeOwned + Debug + PartialEq + Clone + Send + 'static> Value for T {}

/// Sends a value through a queue, between others.
fn through<T: Value>(value: &T) -> Result<T, Error> {
    let queue = Queue::new().unwrap();
    queue.put((1_u8, value.clone(), vec![0_u8; 300]))?;
    let (before, value, after) = queue.get()?;
    assert!(before == 1 && after == [0; 300]);
    Ok(value)
}

fn must_arrive<T: Value>(value: &T) {
    match through(value) {
        Ok(arrived) => assert_eq!(arrived, *value),
        Err(error) => panic!("{value:?} did not arrive: {error}"),
    }
}

fn must_be_refused<T: Value>(value: &T, reason: &str) {
    let error = match through(value) {
        Ok(arrived) => panic!("{value:?} arrived as {arrived:?}"),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(error.is_codec() && text.contains(reason), "{text}");
    let kind = std::any::type_name::<T>();
    assert!(text.contains(kind), "{text} does not name {kind}");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<u8>,
    flag: u8,
    data: Vec<u8>,
}

fn item(tag: Option<u8>) -> Item {
    let (flag, data) = (0, vec![0, 7]);
    Item { tag, flag, data }
}

fn keep(item: Item) -> Item {
    item
}

fn make() -> Item {
    item(None)
}

#[procession::test]
fn a_field_that_is_left_out_is_refused_by_whoever_sends_it() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    let (ours, theirs) = pipe::<Item, Item>().unwrap();
    let pool = Pool::new(1).unwrap();
    let process = Process::new(keep).args(item(None));
    for error in [
        queue
            .put(item(None))
            .map_err(|error| error.error)
            .unwrap_err(),
        ours.send(item(None)).unwrap_err(),
        process.start().map(drop).unwrap_err(),
        Process::new(make)
            .start()
            .unwrap()
            .join()
            .map(drop)
            .unwrap_err(),
        pool.apply(keep, item(None)).map(drop).unwrap_err(),
        pool.apply(make, ()).map(drop).unwrap_err(),
        pool.map(keep, [item(None)]).map(drop).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(error.is_codec(), "{text}");
        for part in ["`tag` of Item", "skip_serializing_if", "SelfDescribing"] {
            assert!(text.contains(part), "{text}");
        }
    }
    ours.send(item(Some(1))).unwrap();
    assert_eq!(theirs.recv().unwrap(), item(Some(1)));
    assert_eq!(pool.apply(keep, item(Some(2))).unwrap(), item(Some(2)));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct NeverWritten {
    #[serde(skip_serializing)]
    first: u8,
    second: u8,
    third: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct NeverRead {
    #[serde(skip_deserializing)]
    first: u8,
    second: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(#[serde(skip_serializing)] u8, u8, u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sometimes(
    #[serde(skip_serializing_if = "Option::is_none")] Option<u8>,
    u8,
    u8,
);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Odd {
    NewtypeOrUnit(#[serde(skip_serializing)] u8),
    Fields {
        #[serde(skip_deserializing)]
        first: u8,
        second: u8,
    },
    #[serde(skip_deserializing)]
    Unread,
    Plain,
}

#[procession::test]
fn what_is_skipped_on_one_side_is_refused() {
    let _watchdog = watch();
    must_be_refused(&NeverWritten::default(), "`#[serde(skip_serializing)]`");
    must_be_refused(&NeverRead::default(), "`#[serde(skip_deserializing)]`");
    must_be_refused(
        &Pair(1, 2, 3),
        "missing bytes: Pair was written with 2 fields",
    );
    must_be_refused(&Sometimes(None, 0, 1), "skip_serializing_if");
    must_arrive(&Sometimes(Some(2), 0, 1));
    must_be_refused(&Odd::NewtypeOrUnit(7), "without fields");
    let (first, second) = (1, 2);
    must_be_refused(&Odd::Fields { first, second }, "leftover bytes");
    must_be_refused(&Odd::Unread, "does not know");
    must_arrive(&Odd::Plain);
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Skipped {
    first: u8,
    #[serde(skip)]
    cache: Vec<u8>,
    #[serde(rename = "drittes", alias = "third", default)]
    third: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Variants {
    First,
    #[serde(skip)]
    #[expect(dead_code, reason = "it is what is skipped")]
    Second,
    #[serde(alias = "Dritte", alias = "Aaa")]
    Third(u8, u8),
    Fourth {
        #[serde(skip)]
        cache: u8,
        kept: u8,
    },
    Fifth(u8),
    Sixth(u8),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "with")]
enum Adjacent {
    Nothing,
    One(u8),
    Named { number: u8 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[procession::test]
fn what_is_skipped_on_both_sides_is_no_harm() {
    let _watchdog = watch();
    must_arrive(&Skipped::default());
    must_arrive(&vec![Skipped::default(); 3]);
    let (cache, kept) = (0, 9);
    for value in [
        Variants::First,
        Variants::Third(1, 2),
        Variants::Fourth { cache, kept },
        Variants::Fifth(5),
        Variants::Sixth(6),
    ] {
        must_arrive(&value);
        must_arrive(&vec![value; 2]);
    }
}

#[procession::test]
fn what_the_standard_library_has_arrives() {
    let _watchdog = watch();
    must_arrive(&(u8::MAX, i16::MIN, u32::MAX, i64::MIN, u128::MAX, i128::MIN));
    must_arrive(&('\0', 'ß', '\u{10ffff}', true, String::from("a\0b"), Unit));
    must_arrive(&(-0.0_f32, f32::MIN_POSITIVE, f64::INFINITY, f64::MAX));
    must_arrive(&(
        Some(Some(())),
        Some(None::<u8>),
        None::<()>,
        vec![(); 5],
        [Unit, Unit],
    ));
    must_arrive(&(Ok::<u8, String>(1), Err::<u8, String>("no".to_owned())));
    must_arrive(&(
        Duration::from_nanos(1_000_000_001),
        SystemTime::now(),
        1..5_u8,
    ));
    let addresses: (IpAddr, SocketAddr) = ("::1".parse().unwrap(), "1.2.3.4:5".parse().unwrap());
    must_arrive(&addresses);
    must_arrive(&BTreeMap::from([
        ("a".to_owned(), vec![1_u8]),
        ("b".to_owned(), vec![]),
    ]));
    must_arrive(&HashMap::from([((1_u8, 'x'), 1.5_f64)]));
    let (quiet, other) = (
        f64::from_bits(0x7ff8_0000_0000_1234),
        f32::from_bits(0xffc0_0001),
    );
    let queue = Queue::new().unwrap();
    queue.put((quiet, other)).unwrap();
    let (first, second) = queue.get().unwrap();
    assert_eq!(
        (first.to_bits(), second.to_bits()),
        (quiet.to_bits(), other.to_bits())
    );
}

/// Writes another number of parts than it says.
#[derive(Clone, Debug, PartialEq)]
struct Miscounts(usize, usize);

impl Serialize for Miscounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_seq(Some(self.0))?;
        for number in 0..self.1 {
            parts.serialize_element(&(number as u8))?;
        }
        parts.end()
    }
}

impl<'de> Deserialize<'de> for Miscounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|parts| Self(parts.len(), parts.len()))
    }
}

/// Reads less than it writes, in a form that nothing but the end shows.
#[derive(Clone, Debug, PartialEq)]
struct Writes(u64, u64);

impl Serialize for Writes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Writes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|first| Self(first, 0))
    }
}

/// Announces more fields than it writes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Announces {
    first: u8,
}

impl Serialize for Announces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Announces", 2)?;
        fields.serialize_field("first", &self.first)?;
        fields.end()
    }
}

#[procession::test]
fn implementations_by_hand_that_do_not_agree_are_refused() {
    let _watchdog = watch();
    must_be_refused(&Miscounts(2, 3), "1 more parts");
    must_be_refused(&Miscounts(3, 2), "1 fewer parts");
    must_arrive(&Miscounts(2, 2));
    must_be_refused(&Announces { first: 1 }, "Announces wrote 1 fewer");
    let queue = Queue::new().unwrap();
    queue.put(Writes(1, 2)).unwrap();
    let text = queue.get().unwrap_err().to_string();
    assert!(text.contains("leftover bytes (8 of 16)"), "{text}");
    let back = Process::new(|| Writes(1, 2)).start().unwrap().join();
    let text = back.unwrap_err().to_string();
    assert!(text.contains("leftover bytes (8 of 16)"), "{text}");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Outer {
    id: u8,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    name: String,
    #[serde(flatten)]
    more: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(f64),
    Text(String),
    Many(Vec<Untagged>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Circle { radius: f64 },
    Nothing,
}

fn outer() -> Outer {
    let more = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), -2)]);
    let name = "x".to_owned();
    Outer {
        id: 3,
        inner: Inner { name, more },
    }
}

fn many() -> Untagged {
    let text = Untagged::Text("text".to_owned());
    Untagged::Many(vec![Untagged::Number(0.1 + 0.2), text])
}

#[procession::test]
fn what_must_describe_itself_is_refused_by_the_name_of_its_attribute() {
    let _watchdog = watch();
    must_be_refused(&outer(), "`#[serde(flatten)]`");
    must_be_refused(&many(), "`#[serde(untagged)]`");
    must_be_refused(&Internal::Nothing, "`#[serde(tag = ..)]`");
    must_be_refused(&Internal::Circle { radius: 1.0 }, "SelfDescribing");
    must_be_refused(&Adjacent::One(1), "`#[serde(tag = ..)]`");
}

#[procession::test]
fn in_a_form_that_describes_itself_it_crosses() {
    let _watchdog = watch();
    must_arrive(&SelfDescribing(outer()));
    must_arrive(&SelfDescribing(many()));
    must_arrive(&vec![
        SelfDescribing(Internal::Nothing),
        SelfDescribing(Internal::Circle { radius: 1.0 }),
    ]);
    let adjacent = [
        Adjacent::Nothing,
        Adjacent::One(1),
        Adjacent::Named { number: 2 },
    ];
    must_arrive(&adjacent.map(SelfDescribing));
    must_arrive(&SelfDescribing(item(None)));
    must_arrive(&Some(SelfDescribing(Some(item(Some(1))))));
    must_arrive(&SelfDescribing((
        0.1_f32 + 0.2_f32,
        f64::MIN_POSITIVE,
        u64::MAX,
        i128::MIN,
    )));
    must_arrive(&SelfDescribing(HashMap::from([(1_u8, "one".to_owned())])));
    let pool = Pool::new(1).unwrap();
    let same = |item: SelfDescribing<Item>| item;
    assert_eq!(*pool.apply(same, item(None).into()).unwrap(), item(None));
    let child = Process::new(same)
        .args(SelfDescribing(item(None)))
        .start()
        .unwrap();
    assert_eq!(child.join().unwrap().into_inner(), item(None));
}

#[procession::test]
fn only_what_would_become_none_is_refused() {
    let _watchdog = watch();
    must_be_refused(&SelfDescribing(Some(None::<u8>)), "cannot tell `None`");
    must_be_refused(&SelfDescribing((1, Some(()))), "cannot tell `None`");
    must_arrive(&SelfDescribing(HashMap::from([(
        (1_u8, 2_u8),
        f64::INFINITY,
    )])));
    must_arrive(&SelfDescribing((
        Some(Some(1)),
        Some(String::new()),
        Some(Vec::<u8>::new()),
    )));
}

#[derive(Serialize, Deserialize)]
struct WithLock {
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<u8>,
    lock: Lock,
}

#[procession::test]
fn handles_cross_in_a_form_that_describes_itself() {
    let _watchdog = watch();
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    let try_it = |it: SelfDescribing<WithLock>| it.lock.try_lock().unwrap().is_some();
    let argument = || {
        let lock = lock.clone();
        SelfDescribing(WithLock { tag: None, lock })
    };
    let child = Process::new(try_it).args(argument()).start().unwrap();
    assert!(!child.join().unwrap());
    drop(guard);
    let queue = Queue::new().unwrap();
    queue.put(argument()).unwrap();
    drop(lock);
    assert!(queue.get().unwrap().lock.try_lock().unwrap().is_some());
}
