//! Short lists, put into the order of a number.
//!
//! The sorts of `std` are compiled anew for each type of item, to six kilobytes each time. This
//! one is compiled once, for the lists in which the time of a sort is nothing: what is shown to
//! people, and workers that are about to end.

/// Returns items by their numbers, the lowest first; those of one number stay as they are.
pub fn in_order<T>(items: Vec<T>, number: impl Fn(&T) -> u128) -> Vec<T> {
    let places = items.iter().enumerate();
    let mut places: Vec<_> = places.map(|(at, item)| (number(item), at)).collect();
    places.sort_unstable();
    let mut items: Vec<_> = items.into_iter().map(Some).collect();
    let each = places.into_iter();
    each.filter_map(|(_, at)| items[at].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_one_number_keep_their_order() {
        let items = vec![(2, 'a'), (1, 'b'), (2, 'c'), (0, 'd'), (1, 'e')];
        let sorted = in_order(items, |item| item.0);
        let letters: String = sorted.into_iter().map(|item| item.1).collect();
        assert_eq!(letters, "dbeac");
    }
}
