//! The stable codes a user can meet. Each has a page `docs/errors/CODE.md`.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $title:literal;)*) => {
        /// A stable error code. The text never changes once it was released.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// All codes, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in answers and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// One sentence for people, without any detail of the request.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

error_codes! {
    // --- who is calling
    /// No credential, and anonymous access is off.
    CredentialMissing = "credential_missing", "A credential is required.";
    /// The `Authorization` header is not `Bearer TOKEN`.
    CredentialMalformed = "credential_malformed", "The Authorization header is not a bearer token.";
    /// The token does not verify: bad signature, unknown key, forbidden algorithm, bad shape.
    TokenInvalid = "token_invalid", "The token is not valid.";
    /// `exp` has passed.
    TokenExpired = "token_expired", "The token has expired.";
    /// `nbf` is still ahead.
    TokenNotYetValid = "token_not_yet_valid", "The token is not valid yet.";
    /// `iss` is not a configured issuer.
    TokenIssuerUnknown = "token_issuer_unknown", "The token's issuer is not accepted here.";
    /// `aud`/`azp` do not name this service.
    TokenAudienceWrong = "token_audience_wrong", "The token is meant for another audience.";
    /// `db_name` names another database.
    TokenDatabaseWrong = "token_database_wrong", "The token is meant for another database.";
    /// No claim path led to a role.
    TokenRoleMissing = "token_role_missing", "The token names no role.";
    /// The API token was revoked.
    TokenRevoked = "token_revoked", "The token has been revoked.";
    /// The issuer's keys cannot be fetched, and none are cached.
    IssuerUnavailable = "issuer_unavailable", "The issuer's keys cannot be fetched.";
    /// Wrong login or password; one answer for every failure.
    LoginFailed = "login_failed", "The login or the password is wrong.";
    /// Too many login attempts.
    LoginThrottled = "login_throttled", "Too many login attempts.";

    // --- what the role may be
    /// `none`, `public`, `pg_*` and other names with a special meaning.
    RoleReserved = "role_reserved", "The role name is reserved.";
    /// No such role in this cluster.
    RoleUnknown = "role_unknown", "The role does not exist.";
    /// Superuser, BYPASSRLS, CREATEROLE, REPLICATION, owner, or a member of one.
    RoleForbidden = "role_forbidden", "The role is too powerful to be used here.";
    /// The issuer's allow-list does not have the role.
    RoleNotAllowed = "role_not_allowed", "The token's issuer may not name this role.";
    /// The role exists but was never admitted.
    RoleNotAdmitted = "role_not_admitted", "The role has not been admitted.";
    /// The role was dropped and made again after the token was issued.
    RoleReplaced = "role_replaced", "The role is not the one the token was issued for.";

    // --- calls
    /// The body is not JSON.
    ParseError = "parse_error", "The body is not valid JSON.";
    /// The body is JSON but not a JSON-RPC request.
    InvalidRequest = "invalid_request", "The body is not a valid JSON-RPC request.";
    /// No such function, or not one this role may execute.
    FunctionNotFound = "function_not_found", "There is no such function.";
    /// Arguments do not fit.
    InvalidParams = "invalid_params", "The arguments do not fit the function.";
    /// Several overloads fit.
    FunctionAmbiguous = "function_ambiguous", "Several functions fit these arguments.";
    /// The role lacks a privilege.
    PermissionDenied = "permission_denied", "The role lacks a privilege.";
    /// The token's scopes do not include this.
    ScopeDenied = "scope_denied", "The token's scopes do not allow this.";
    /// Assume mode refuses a function whose body may run dynamic SQL.
    FunctionNeedsLoginMode = "function_needs_login_mode", "This function runs only for roles in login mode.";
    /// The function needs a writable transaction; GET gives a read-only one.
    MethodNotAllowed = "method_not_allowed", "This method is not allowed here.";
    /// The function raised an error or broke a constraint.
    DatabaseError = "database_error", "The database refused the call.";
    /// The tripwire: role, claims or user differed at the end of the call.
    IdentityChanged = "identity_changed", "The call tried to change its identity and was rolled back.";
    /// The statement ran longer than it may.
    DeadlineExceeded = "deadline_exceeded", "The call took too long and was cancelled.";
    /// Rows or bytes over the bound.
    ResultTooLarge = "result_too_large", "The result is larger than allowed.";
    /// The same key with another body.
    IdempotencyConflict = "idempotency_conflict", "The idempotency key was used with another body.";
    /// The first call with this key still runs.
    IdempotencyInProgress = "idempotency_in_progress", "A call with this idempotency key is still running.";
    /// `Prefer: tx=rollback` is off.
    DryRunDisabled = "dry_run_disabled", "Dry runs are not enabled here.";

    // --- queries
    /// The text is not one statement that reads, or uses what no query may.
    QueryRefused = "query_refused", "The query is not one that is run here.";
    /// Anonymous callers get no answer to it.
    QueryPrivate = "query_private", "The query is not public.";
    /// The answer behind a cursor is another one by now, or is not for everybody any more.
    CursorGone = "cursor_gone", "The answer at this address is not there any more.";
    /// A live query is not what it was when it was opened.
    QueryChanged = "query_changed", "What the query depends on has changed.";

    // --- events
    /// No such channel, or its check function said no.
    ChannelDenied = "channel_denied", "There is no such channel for this role.";

    // --- callbacks of jobs
    /// The call is not signed by a key of ours, or not for now.
    SignatureInvalid = "signature_invalid", "The call's signature is missing or wrong.";
    /// No such callback, or it is forgotten.
    CallbackNotFound = "callback_not_found", "There is no such callback.";
    /// Another call was first, or the callback is for something else.
    CallbackConflict = "callback_conflict", "The callback has been answered otherwise.";
    /// The job does not wait for it any more.
    CallbackGone = "callback_gone", "The job does not wait for this callback any more.";
    /// A rule of the wait has no value for this answer.
    CallbackNotJudged = "callback_not_judged", "The answer can't be judged by the rules of its wait.";

    // --- decisions about jobs
    /// The job has ended, or has not, or has the unique key that another one is to have.
    JobConflict = "job_conflict", "The job's state does not allow this.";

    // --- limits and state
    /// A configured database of this name does not exist.
    DatabaseUnknown = "database_unknown", "There is no such database here.";
    /// No such route.
    NotFound = "not_found", "There is nothing at this path.";
    /// The body is over the limit.
    BodyTooLarge = "body_too_large", "The body is larger than allowed.";
    /// The batch has too many elements.
    BatchTooLarge = "batch_too_large", "The batch has too many elements.";
    /// Another element of an atomic batch failed.
    BatchAborted = "batch_aborted", "Not done: another call of the atomic batch failed.";
    /// The content type is not JSON.
    UnsupportedMediaType = "unsupported_media_type", "The body must be application/json.";
    /// The role's budget of requests or concurrent statements is used up.
    BudgetExceeded = "budget_exceeded", "The role's budget is used up.";
    /// No connection became free in time, or the process is at its bounds.
    Overloaded = "overloaded", "The server is at its limits.";
    /// The database cannot be reached.
    DatabaseUnavailable = "database_unavailable", "The database cannot be reached.";
    /// The server stops.
    ShuttingDown = "shutting_down", "The server is shutting down.";
    /// Anything that is our fault.
    Internal = "internal", "Something went wrong inside the server.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ErrorCode;

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let mut expected: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|code| format!("{code}.md"))
            .collect();
        expected.push("README.md".to_owned());
        expected.sort();
        let mut pages: Vec<String> = std::fs::read_dir(dir)
            .expect("docs/errors exists")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        pages.sort();
        assert_eq!(pages, expected);
    }
}
