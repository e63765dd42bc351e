//! The pages that spares copy before they are needed.

use procession_engine::standby::ForkServer;

use crate::forkserver::start;
use crate::harness::tests;
use crate::role::PAGES;
use crate::spawn::{outcome, told};

tests![spares_have_copied_the_pages_that_children_before_them_have_used];

fn spares_have_copied_the_pages_that_children_before_them_have_used() {
    let mut server = ForkServer::new();
    let mut copied = || outcome(&start(&mut server, told("report pages")));
    assert_eq!(copied(), "0");
    // Those that were parked by then come first.
    let counts: Vec<_> = std::iter::repeat_with(copied).take(20).collect();
    assert_eq!(*counts.last().unwrap(), PAGES.to_string(), "{counts:?}");
}
