//! Lines of `pg_ident.conf`: who of the operating system may log in as which role.

/// The first version (`server_version_num`) on which one line can name every member of a group.
pub const GROUPS_SINCE: i32 = 160_000;

/// A word that cannot be written into `pg_ident.conf` so that it means itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{word:?} cannot stand in pg_ident.conf: it starts with `/`, which PostgreSQL reads as a \
     regular expression, or it is empty or has control characters"
)]
pub struct IdentError {
    /// The map, the operating system user or the role.
    pub word: String,
}

/// `MAP OS-USER ROLE`: the operating system user may log in as that one role.
pub fn role_line(map: &str, os_user: &str, role: &str) -> Result<String, IdentError> {
    Ok([quoted(map)?, quoted(os_user)?, quoted(role)?].join(" "))
}

/// `MAP OS-USER +GROUP`: the same for every member of `group`, as memberships are when somebody
/// logs in. From [`GROUPS_SINCE`] on; before it the line names a role called `+GROUP`.
pub fn group_line(map: &str, os_user: &str, group: &str) -> Result<String, IdentError> {
    // Quotes would take the meaning of `+` away if they stood in front of it, and only there.
    let group = ["+", &quoted(group)?].concat();
    Ok([quoted(map)?, quoted(os_user)?, group].join(" "))
}

/// In quotes `all`, `+group`, `@file`, `#` and `,` mean themselves. What quotes cannot protect is
/// refused: a slash in front makes a regular expression also inside them (of the system's user
/// always, of the role from 16 on), and a line ends where it ends.
fn quoted(word: &str) -> Result<String, IdentError> {
    if word.is_empty() || word.starts_with('/') || word.chars().any(char::is_control) {
        return Err(IdentError {
            word: word.to_owned(),
        });
    }
    Ok(format!("\"{}\"", word.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_quotes() {
        assert_eq!(
            role_line("m", "u", "+everyone").as_deref(),
            Ok("\"m\" \"u\" \"+everyone\"")
        );
        assert_eq!(
            role_line("all", "@file", "o\"brien").as_deref(),
            Ok("\"all\" \"@file\" \"o\"\"brien\"")
        );
        assert_eq!(
            group_line("m", "u", "admitted").as_deref(),
            Ok("\"m\" \"u\" +\"admitted\"")
        );
    }

    #[test]
    fn words_that_quoting_cannot_protect_are_refused() {
        for word in ["/.*", "/", "", "a\nm u postgres", "a\0b", "a\rb", "a\tb"] {
            for line in [
                role_line(word, "u", "r"),
                role_line("m", word, "r"),
                role_line("m", "u", word),
                group_line("m", "u", word),
            ] {
                assert_eq!(
                    line,
                    Err(IdentError {
                        word: word.to_owned()
                    })
                );
            }
        }
        for word in ["a/b", "größe", "a#b", "a,b", "@x", "all", "a\\1", "a\\"] {
            assert!(role_line("m", "u", word).is_ok(), "{word:?}");
        }
    }
}
