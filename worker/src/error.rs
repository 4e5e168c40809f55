//! What can go wrong between an application and its server, as the application gets to see it.

use std::error::Error as StdError;
use std::{fmt, io};

use rustcorn_config::{Origin, Problem, Problems};

use crate::count::BoxError;

/// What the functions of this crate can fail with. Displayed as one line for each thing to mend, which says where it is.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// # fn main() -> Result<(), rustcorn::BoxError> { tokio::runtime::Runtime::new()?.block_on(async {
/// #[derive(serde::Deserialize)]
/// struct Config { greeting: String }
///
/// let error = rustcorn::serve_test("[app]\ngreeting = 7", |ctx| async move {
///     let config: Config = ctx.config()?;
///     let greet = move || std::future::ready(config.greeting);
///     Ok(axum::Router::new().route("/", axum::routing::get(greet)))
/// });
/// let error = error.await.expect_err("a number is no greeting");
/// assert!(error.to_string().starts_with("app.toml:2: app.greeting: invalid type: integer `7`"), "{error}");
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not what the application, or the server, wants it to be. All mistakes at once, in the order of the
    /// file's lines.
    #[non_exhaustive]
    Config {
        /// What is wrong, and where.
        mistakes: Vec<Mistake>,
    },
    /// What the application said when it was built.
    Application(BoxError),
    /// The application panicked when it was built.
    #[non_exhaustive]
    Panicked {
        /// Where, and what it said.
        message: String,
    },
    /// A system call failed.
    #[non_exhaustive]
    System {
        /// For what.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A request of a test got no answer.
    Request(BoxError),
}

impl Error {
    /// What the application said, which may be an error of ours handed on.
    pub(crate) fn of(error: BoxError) -> Self {
        error.downcast::<Self>().map_or_else(Self::Application, |ours| *ours)
    }

    pub(crate) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { mistakes } => {
                for (index, mistake) in mistakes.iter().enumerate() {
                    f.write_str(if index > 0 { "\n" } else { "" })?;
                    mistake.fmt(f)?;
                }
                Ok(())
            }
            Self::Application(error) => error.fmt(f),
            Self::Panicked { message } => write!(f, "the application {message}"),
            Self::System { doing, .. } => write!(f, "cannot {doing}"),
            Self::Request(_) => f.write_str("the request got no answer"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Config { .. } | Self::Panicked { .. } => None,
            Self::Application(error) => error.source(), // it is displayed as the error itself
            Self::System { source, .. } => Some(source),
            Self::Request(error) => Some(&**error),
        }
    }
}

#[doc(hidden)] // of a crate that users need not know
impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::Config { mistakes: problems.0.into_iter().map(Mistake).collect() }
    }
}

#[doc(hidden)] // as above
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Problems::from(problem).into()
    }
}

/// One thing to mend in the configuration. Displayed as `app.toml:9: app.greeting: missing; add it`.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// fn first_line(error: &rustcorn::Error) -> Option<usize> {
///     match error {
///         rustcorn::Error::Config { mistakes, .. } => mistakes.first()?.line(),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake(Problem);

impl Mistake {
    /// The file it is in; `None` if it came from elsewhere, such as the environment.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self.0.origin() {
            Origin::File { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The line of that file, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self.0.origin() {
            Origin::File { line, .. } => *line,
            _ => None,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
