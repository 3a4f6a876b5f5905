//! What an SQLSTATE means to a caller: one table for every surface.

/// The meaning of an SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// The role lacks a privilege, or a policy forbids it.
    Forbidden,
    /// Over a timeout, or cancelled.
    TimedOut,
    /// Lost a race; the same call may succeed if repeated.
    Retry,
    /// A constraint says no.
    Conflict,
    /// A value does not fit its type or a constraint of one row.
    BadValue,
    /// A write in a read-only transaction.
    ReadOnly,
    /// The database lacks a resource.
    Busy,
    /// The database goes away or is not there.
    Unavailable,
    /// `raise exception` of the function's author: its text is meant for callers.
    Raised,
    /// `raise sqlstate 'PTxyz'`: the author chose the HTTP status.
    RaisedStatus(u16),
    /// Anything else: the function is broken, or we are.
    Broken,
}

/// Classes the SQL standard or PostgreSQL define. A code of another class is an author's own.
const KNOWN_CLASSES: [&str; 43] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22",
    "23", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40",
    "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0",
];

impl Meaning {
    /// The meaning of `code`.
    pub fn of(code: &str) -> Self {
        if let Some(status) = code
            .strip_prefix("PT")
            .and_then(|digits| digits.parse().ok())
            && (200..600).contains(&status)
        {
            return Self::RaisedStatus(status);
        }
        let class = code.get(..2).unwrap_or_default();
        match code {
            "42501" | "42704" | "28000" | "28P01" | "0LP01" | "0P000" | "44000" => Self::Forbidden,
            "57014" | "25P03" | "25P04" | "55P03" => Self::TimedOut,
            "40001" | "40P01" => Self::Retry,
            "23505" | "23503" | "23P01" | "23001" => Self::Conflict,
            "25006" => Self::ReadOnly,
            "P0001" => Self::Raised,
            "" => Self::Broken,
            "57P01" | "57P02" | "57P03" | "57P05" => Self::Unavailable,
            _ => match class {
                "22" | "23" => Self::BadValue,
                "53" => Self::Busy,
                "08" => Self::Unavailable,
                "XX" => Self::Broken,
                _ if KNOWN_CLASSES.contains(&class) => Self::Broken,
                _ => Self::Raised,
            },
        }
    }

    /// Whether message, detail and hint were written by the function's author for callers. Texts
    /// of other errors can carry values of rows the caller may not see.
    pub fn text_is_for_callers(self) -> bool {
        matches!(self, Self::Raised | Self::RaisedStatus(_))
    }
}

#[cfg(test)]
mod tests {
    use super::Meaning;

    #[test]
    fn codes_mean_what_the_table_says() {
        for (code, meaning) in [
            ("42501", Meaning::Forbidden),
            ("57014", Meaning::TimedOut),
            ("40001", Meaning::Retry),
            ("40P01", Meaning::Retry),
            ("23505", Meaning::Conflict),
            ("23514", Meaning::BadValue),
            ("22P02", Meaning::BadValue),
            ("25006", Meaning::ReadOnly),
            ("53300", Meaning::Busy),
            ("42P01", Meaning::Broken),
            ("42883", Meaning::Broken),
            ("XX000", Meaning::Broken),
            ("P0001", Meaning::Raised),
            ("P0002", Meaning::Broken),
            ("PT418", Meaning::RaisedStatus(418)),
            ("PT999", Meaning::Raised),
            ("AB001", Meaning::Raised),
            ("", Meaning::Broken),
        ] {
            assert_eq!(Meaning::of(code), meaning, "{code}");
        }
    }

    #[test]
    fn only_texts_of_authors_are_for_callers() {
        assert!(Meaning::of("P0001").text_is_for_callers());
        assert!(Meaning::of("PT404").text_is_for_callers());
        for code in ["23505", "22P02", "42P01", "XX000", "42501", "P0002"] {
            assert!(!Meaning::of(code).text_is_for_callers(), "{code}");
        }
    }
}
