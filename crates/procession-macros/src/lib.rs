//! The attribute macros of the crate `procession`, which re-exports them.
//!
//! Each puts one call in front of a function's body; a program that writes that call
//! itself needs no macro. They look at the few tokens that matter here, so that nobody has
//! to build a parser of all of Rust for them.

use std::iter;

// Outside of the compiler its own tokens do not work; tests have the same ones of a crate, which
// programs need not build.
#[cfg(not(test))]
use proc_macro as tokens;
#[cfg(test)]
use proc_macro2 as tokens;

use tokens::{
    Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream as Tokens, TokenTree,
};

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
#[cfg(not(test))]
#[proc_macro_attribute]
pub fn main(arguments: Tokens, item: Tokens) -> Tokens {
    on_main(&arguments, item)
}

/// Makes a `#[test]` whose processes can start: each child is the test program
/// again, and becomes its task before the test harness starts.
///
/// A plain `#[test]` that cargo runs needs it not.
///
/// # Examples
///
/// ```ignore
/// #[procession::test]
/// fn a_child_doubles() {
///     let child = procession::Process::new(|n: u32| n * 2).args(2).start().unwrap();
///     assert_eq!(child.join().unwrap(), 4);
/// }
/// ```
#[cfg(not(test))]
#[proc_macro_attribute]
pub fn test(arguments: Tokens, item: Tokens) -> Tokens {
    on_test(&arguments, item)
}

/// Gives a function a name, by which nodes of another build of the program find it: the path of its
/// module and its own name.
///
/// A pool on other machines ([`Pool::on`]) runs every function on nodes of the same build. One with
/// this attribute also runs on nodes of another build, as when a new version is rolled out machine
/// by machine. There its types have to be the same, by name; that they are the same inside, too,
/// is the program's affair.
///
/// [`Pool::on`]: https://docs.rs/procession/latest/procession/struct.Pool.html#method.on
///
/// # Examples
///
/// ```ignore
/// #[procession::task]
/// fn double(number: u64) -> u64 {
///     number * 2
/// }
/// ```
#[cfg(not(test))]
#[proc_macro_attribute]
pub fn task(arguments: Tokens, item: Tokens) -> Tokens {
    on_task(&arguments, item)
}

fn on_task(arguments: &Tokens, item: Tokens) -> Tokens {
    let mut tokens = item.clone();
    let function = match Function::read(arguments, item, "task") {
        Ok(function) => function,
        Err(error) => return error,
    };
    if let Some(asyncness) = function.asyncness {
        let message = "a task runs in a worker process, where no runtime is: write it as a plain \
                       `fn`, and start a runtime in it if it needs one";
        return compile_error(asyncness, message);
    }
    let call = format!("::procession::register_task!({});", function.name).parse::<Tokens>();
    tokens.extend(call.unwrap_or_default());
    tokens
}

fn on_main(arguments: &Tokens, item: Tokens) -> Tokens {
    let function = match Function::read(arguments, item, "main") {
        Ok(function) => function,
        Err(error) => return error,
    };
    if !is_word(&function.name, "main") {
        let message = "#[procession::main] belongs on the function `main`";
        return compile_error(function.name.span(), message);
    }
    if let Some(asyncness) = function.asyncness {
        let message = "a started process has to turn into its task before a runtime starts \
                       threads: write the runtime's attribute above #[procession::main], as in\n\
                       #[tokio::main]\n#[procession::main]\nasync fn main()";
        let mut tokens = compile_error(asyncness, message);
        // So that nothing else is complained of.
        tokens.extend("fn main() {}".parse::<Tokens>().unwrap_or_default());
        return tokens;
    }
    function.with_call_of("init")
}

fn on_test(arguments: &Tokens, item: Tokens) -> Tokens {
    let function = match Function::read(arguments, item, "test") {
        Ok(function) => function,
        Err(error) => return error,
    };
    if let Some(asyncness) = function.asyncness {
        let message = "#[procession::test] makes a #[test], which is not async: leave it out, and \
                       call procession::init_in_test() first in a test of your runtime";
        return compile_error(asyncness, message);
    }
    let mut tokens: Tokens = "#[test]".parse().unwrap_or_default();
    tokens.extend(function.with_call_of("init_in_test"));
    tokens
}

/// A function as far as it matters here.
struct Function {
    /// Attributes, signature.
    head: Vec<TokenTree>,
    name: Ident,
    /// Where it says `async`.
    asyncness: Option<Span>,
    body: Group,
}

impl Function {
    /// Reads the function that an attribute stands on; what is returned otherwise says what is
    /// wrong, as tokens.
    fn read(arguments: &Tokens, item: Tokens, attribute: &str) -> Result<Self, Tokens> {
        if let Some(first) = arguments.clone().into_iter().next() {
            let message = format!("#[procession::{attribute}] takes no arguments");
            return Err(compile_error(first.span(), &message));
        }
        let mut head: Vec<TokenTree> = item.into_iter().collect();
        let is = |token: &TokenTree, word: &str| matches!(token, TokenTree::Ident(ident) if is_word(ident, word));
        // What attributes and types have in brackets is not looked into.
        let place = head.iter().position(|token| is(token, "fn"));
        let name = place.and_then(|place| match head.get(place + 1) {
            Some(TokenTree::Ident(name)) => Some(name.clone()),
            _ => None,
        });
        let body = match head.pop() {
            Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => Some(body),
            _ => None,
        };
        let (Some(place), Some(name), Some(body)) = (place, name, body) else {
            let message = format!("#[procession::{attribute}] belongs on a function with a body");
            return Err(compile_error(Span::call_site(), &message));
        };
        let asyncness = head[..place].iter().find(|token| is(token, "async"));
        Ok(Self {
            asyncness: asyncness.map(TokenTree::span),
            head,
            name,
            body,
        })
    }

    /// Puts a call of a function of the crate first.
    fn with_call_of(self, function: &str) -> Tokens {
        let call = format!("::procession::{function}();").parse::<Tokens>();
        let statements = call
            .unwrap_or_default()
            .into_iter()
            .chain(self.body.stream());
        let mut body = Group::new(Delimiter::Brace, statements.collect());
        body.set_span(self.body.span());
        let body = iter::once(TokenTree::from(body));
        self.head.into_iter().chain(body).collect()
    }
}

/// Tells whether an identifier is `word`; only those of the crate compare with it themselves.
fn is_word(ident: &Ident, word: &str) -> bool {
    let ident = ident.to_string();
    ident == word
}

/// Makes the compiler say `message` at a place.
fn compile_error(at: Span, message: &str) -> Tokens {
    let mut text = Literal::string(message);
    text.set_span(at);
    let mut bang = Punct::new('!', Spacing::Alone);
    bang.set_span(at);
    let mut text = Group::new(Delimiter::Brace, TokenTree::from(text).into());
    text.set_span(at);
    let tokens: [TokenTree; 3] = [
        Ident::new("compile_error", at).into(),
        bang.into(),
        text.into(),
    ];
    tokens.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Tokens, on_main, on_task, on_test};

    fn tokens(text: &str) -> Tokens {
        text.parse().unwrap()
    }

    #[test]
    fn init_comes_first_in_main() {
        let item = "#[doc = \"async fn\"] pub fn main() -> Result<(), Box<dyn Error>> { work(); }";
        let expanded = on_main(&Tokens::new(), tokens(item));
        let expected = item.replace("{ work", "{ ::procession::init(); work");
        assert_eq!(expanded.to_string(), tokens(&expected).to_string());
    }

    #[test]
    fn a_test_is_made() {
        let item = "#[should_panic] fn works() where u8: Copy {}";
        let expanded = on_test(&Tokens::new(), tokens(item));
        let expected = "#[test] #[should_panic] fn works() where u8: Copy \
                        { ::procession::init_in_test(); }";
        assert_eq!(expanded.to_string(), tokens(expected).to_string());
    }

    #[test]
    fn a_task_is_given_its_name() {
        let item = "pub(crate) fn r#double(number: u64) -> u64 { number * 2 }";
        let expanded = on_task(&Tokens::new(), tokens(item));
        let expected = format!("{item} ::procession::register_task!(r#double);");
        assert_eq!(expanded.to_string(), tokens(&expected).to_string());
        let error = on_task(&Tokens::new(), tokens("async fn a_task() {}")).to_string();
        assert!(
            error.starts_with("compile_error") && error.contains("plain"),
            "{error}"
        );
    }

    #[test]
    fn a_runtime_below_is_refused_and_the_order_is_told() {
        let item = "#[tokio::main] async fn main() {}";
        let error = on_main(&Tokens::new(), tokens(item)).to_string();
        assert!(error.starts_with("compile_error"), "{error}");
        assert!(error.contains("above #[procession::main]"), "{error}");
        let error = on_test(&Tokens::new(), tokens("async fn a_test() {}")).to_string();
        assert!(error.starts_with("compile_error"), "{error}");
        assert!(error.contains("init_in_test"), "{error}");
    }

    #[test]
    fn what_is_no_such_function_is_refused() {
        for (arguments, item) in [
            ("", "fn other() {}"),
            ("flavor = \"x\"", "fn main() {}"),
            ("", "struct Main {}"),
            ("", "fn main();"),
        ] {
            let error = on_main(&tokens(arguments), tokens(item)).to_string();
            assert!(error.starts_with("compile_error"), "{error}");
        }
    }
}
