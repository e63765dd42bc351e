//! The attribute macros of the crate `procession`, which re-exports them.
//!
//! Each puts one call in front of a function's body; whoever prefers to write
//! that call needs no macro.

use proc_macro::TokenStream;
use proc_macro2::Span;
use quote::quote;
use syn::{ItemFn, parse_macro_input, parse_quote};

/// Puts `procession::init()` first in `main`.
///
/// A process that procession started turns into its task there and never
/// reaches the rest of `main`.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(error) = refuse_arguments(arguments, "main") {
        return error;
    }
    let mut function = parse_macro_input!(item as ItemFn);
    if function.sig.ident != "main" {
        return syn::Error::new_spanned(
            &function.sig.ident,
            "#[procession::main] belongs on the function `main`",
        )
        .to_compile_error()
        .into();
    }
    function
        .block
        .stmts
        .insert(0, parse_quote!(::procession::init();));
    quote!(#function).into()
}

/// Makes a `#[test]` whose processes can start: each child is the test program
/// again, and becomes its task before the test harness starts.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(error) = refuse_arguments(arguments, "test") {
        return error;
    }
    let mut function = parse_macro_input!(item as ItemFn);
    function
        .block
        .stmts
        .insert(0, parse_quote!(::procession::init_in_test();));
    function.attrs.insert(0, parse_quote!(#[test]));
    quote!(#function).into()
}

fn refuse_arguments(arguments: TokenStream, name: &str) -> Option<TokenStream> {
    if arguments.is_empty() {
        return None;
    }
    let message = format!("#[procession::{name}] takes no arguments");
    Some(
        syn::Error::new(Span::call_site(), message)
            .to_compile_error()
            .into(),
    )
}
