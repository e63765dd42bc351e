//! What the compiler says to a program that asks for what cannot be.
//!
//! The texts are those of the compiler that continuous integration uses. After a change that was
//! meant, `TRYBUILD=overwrite cargo test -p procession --test compile_errors` writes them.

#[test]
fn each_mistake_is_told_where_it_was_made() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/works.rs");
    for name in [
        "captures_reference",
        "captures_owned",
        "captures_number",
        "function_pointer",
        "argument_without_serde",
        "queue_without_serde",
        "async_main",
        "async_test",
        "main_elsewhere",
        "start_without_arguments",
        "wrong_argument",
    ] {
        cases.compile_fail(format!("tests/ui/{name}.rs"));
    }
}
