//! The attribute macros of the crate `procession`, which re-exports them.
//!
//! Each puts one call in front of a function's body; a program that writes that call
//! itself needs no macro.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::quote;
use syn::{Error, ItemFn, Result, parse_quote};

/// Puts `procession::init()` first in `main`.
///
/// A process that procession started turns into its task there and never
/// reaches the rest of `main`.
///
/// It belongs on the function that really is first. An attribute that makes
/// one of an `async fn main`, such as `#[tokio::main]`, goes above it:
///
/// ```text
/// #[tokio::main]
/// #[procession::main]
/// async fn main() {}
/// ```
///
/// In the other order the runtime and its threads would be started in every
/// process before it could become what it is for, and that is refused:
///
/// ```compile_fail
/// #[procession::main]
/// async fn main() {}
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(on_main(arguments.into(), item.into()))
}

/// Makes a `#[test]` whose processes can start: each child is the test program
/// again, and becomes its task before the test harness starts.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(on_test(arguments.into(), item.into()))
}

fn expanded(tokens: Result<Tokens>) -> TokenStream {
    tokens.unwrap_or_else(Error::into_compile_error).into()
}

fn on_main(arguments: Tokens, item: Tokens) -> Result<Tokens> {
    refuse_arguments(&arguments, "main")?;
    let mut function: ItemFn = syn::parse2(item)?;
    if function.sig.ident != "main" {
        let message = "#[procession::main] belongs on the function `main`";
        return Err(Error::new_spanned(&function.sig.ident, message));
    }
    if let Some(asyncness) = function.sig.asyncness {
        let message = "a started process has to turn into its task before a runtime starts \
                       threads: write the runtime's attribute above #[procession::main], as in\n\
                       #[tokio::main]\n#[procession::main]\nasync fn main()";
        return Err(Error::new_spanned(asyncness, message));
    }
    function
        .block
        .stmts
        .insert(0, parse_quote!(::procession::init();));
    Ok(quote!(#function))
}

fn on_test(arguments: Tokens, item: Tokens) -> Result<Tokens> {
    refuse_arguments(&arguments, "test")?;
    let mut function: ItemFn = syn::parse2(item)?;
    if let Some(asyncness) = function.sig.asyncness {
        let message = "#[procession::test] makes a #[test], which is not async: leave it out, and \
                       call procession::init_in_test() first in a test of your runtime";
        return Err(Error::new_spanned(asyncness, message));
    }
    function
        .block
        .stmts
        .insert(0, parse_quote!(::procession::init_in_test();));
    function.attrs.insert(0, parse_quote!(#[test]));
    Ok(quote!(#function))
}

fn refuse_arguments(arguments: &Tokens, name: &str) -> Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    let message = format!("#[procession::{name}] takes no arguments");
    Err(Error::new(Span::call_site(), message))
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream as Tokens;
    use quote::quote;

    use super::{on_main, on_test};

    #[test]
    fn init_comes_first_in_main() {
        let expanded = on_main(
            Tokens::new(),
            quote!(
                fn main() {
                    work();
                }
            ),
        )
        .unwrap();
        let expected = quote!(
            fn main() {
                ::procession::init();
                work();
            }
        );
        assert_eq!(expanded.to_string(), expected.to_string());
    }

    #[test]
    fn a_runtime_below_is_refused_and_the_order_is_told() {
        let item = quote!(
            #[tokio::main]
            async fn main() {}
        );
        let error = on_main(Tokens::new(), item).unwrap_err().to_string();
        assert!(error.contains("above #[procession::main]"), "{error}");
        let item = quote!(
            async fn a_test() {}
        );
        let error = on_test(Tokens::new(), item).unwrap_err().to_string();
        assert!(error.contains("init_in_test"), "{error}");
    }

    #[test]
    fn other_functions_and_arguments_are_refused() {
        assert!(
            on_main(
                Tokens::new(),
                quote!(
                    fn other() {}
                )
            )
            .is_err()
        );
        assert!(
            on_main(
                quote!(flavor = "x"),
                quote!(
                    fn main() {}
                )
            )
            .is_err()
        );
        assert!(
            on_test(
                quote!(x),
                quote!(
                    fn a_test() {}
                )
            )
            .is_err()
        );
    }
}
