//! Why SQL of a caller is not run.

/// Why SQL of a caller is not run, for him to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing but white space and comments.
    #[error("The statement is empty.")]
    Empty,
    /// Longer than allowed.
    #[error("The statement has {0} bytes; at most {1} are allowed.")]
    TooLong(usize, usize),
    /// It begins with something else.
    #[error("Only SELECT, VALUES, TABLE and WITH are run here; this begins with {0}.")]
    NotAQuery(String),
    /// Something follows the first statement.
    #[error("There is more than one statement.")]
    SeveralStatements,
    /// The text has something whose meaning depends on settings.
    #[error("The statement can't be read with certainty: {0}.")]
    Unreadable(&'static str),
    /// A byte that no text of PostgreSQL can have.
    #[error("The statement has a null character.")]
    NullCharacter,
    /// The plan has a node that writes or locks rows.
    #[error("The statement writes or locks rows ({0}); only reading is possible here.")]
    Writes(String),
    /// A built-in function with an effect, or one that reads around the tables' rights.
    #[error("The function {0} is not allowed in a query.")]
    Function(String),
    /// In assume mode only PostgreSQL's own functions are known to keep the role.
    #[error(
        "The function {0} can't be used in a query of a role in assume mode, because it could leave the role."
    )]
    NeedsLoginMode(String),
    /// It looks things up by their names, and whoever has no token is not told which there are.
    #[error("{0} can't be used in a query without a token.")]
    NeedsToken(String),
    /// In assume mode: an operator, a type or a view that runs code of users.
    #[error(
        "{0} can't be used in a query of a role in assume mode, because its code could leave the role."
    )]
    RunsCode(String),
    /// A system catalog that is not on the list.
    #[error("The relation {0} is one of the database's own catalogs, which can't be queried here.")]
    Catalog(String),
    /// Two columns of the result have one name.
    #[error("Two columns of the result are called {0}.")]
    DuplicateColumn(String),
    /// The result has no columns.
    #[error("The result has no columns.")]
    NoColumns,
    /// Fewer or more parameters than the text has.
    #[error("The statement has {expected} parameters, and {given} were given.")]
    Parameters {
        /// Highest number in the text.
        expected: usize,
        /// Given.
        given: usize,
    },
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "Send one SELECT in the member sql.",
            Self::TooLong(..) => "Shorten it, or put it into a view or a function.",
            Self::NotAQuery(_) | Self::Writes(_) => {
                "To change data, call a function: POST /api/{database}/{function}."
            }
            Self::SeveralStatements => "Send them one by one.",
            Self::Unreadable(_) => {
                "Write names and strings without U& and without backslashes before quotes; \
                 give values as parameters."
            }
            Self::NullCharacter => "Remove it.",
            Self::Function(_) => {
                "Leave it out, or put it into a function that is called through the API."
            }
            Self::NeedsLoginMode(_) => {
                "An operator can declare it safe with `select rolegate.declare_safe(...)`, or run \
                 the role in login mode."
            }
            Self::NeedsToken(_) => "Send a bearer token, or leave it out.",
            Self::RunsCode(_) => "An operator can run the role in login mode.",
            Self::Catalog(_) => "An operator can allow it in query.catalogs.",
            Self::DuplicateColumn(_) => "Give one of them another name with AS.",
            Self::NoColumns => "Select at least one column.",
            Self::Parameters { .. } => "Give one value in params for each of $1, $2, ...",
        }
    }
}
