//! What is needed to send a request a second time.
//!
//! A server that shuts down, or an operator who ends a session, says so to an idle connection, and a
//! request may already be on its way to it. The server certainly ran nothing of it then, and the
//! caller need not hear of it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::session::{Finish, Request};
use crate::statement::Statement;

/// A copy of a request. Parameters are shared with it, not copied.
pub(super) struct Again {
    request: Request,
    finish: Option<Arc<Mutex<Option<Finish>>>>,
}

impl Again {
    /// Splits a request into what is sent now and what may be sent once more.
    pub(super) fn split(mut request: Request) -> (Request, Self) {
        let shared = request
            .finish
            .take()
            .map(|make| Arc::new(Mutex::new(Some(make))));
        let copy = Request {
            role: request.role.clone(),
            claims: Arc::clone(&request.claims),
            token_id: Arc::clone(&request.token_id),
            access: request.access,
            transaction: request.transaction,
            search_path: Arc::clone(&request.search_path),
            settings: request.settings.clone(),
            statements: request.statements.clone(),
            rereads: request.rereads.clone(),
            finish: None,
            limits: request.limits,
            stream: request.stream.clone(),
        };
        request.finish = shared.clone().map(hand_over);
        let again = Self {
            request: copy,
            finish: shared,
        };
        (request, again)
    }

    /// The same request once more.
    pub(super) fn request(self) -> Request {
        Request {
            finish: self.finish.map(hand_over),
            ..self.request
        }
    }
}

/// The one statement that can be made, for whichever attempt gets that far.
fn hand_over(shared: Arc<Mutex<Option<Finish>>>) -> Finish {
    Box::new(move |rows| {
        let make = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        match make {
            Some(make) => make(rows),
            // Two attempts that both ran: never. The server does not know this text, so that
            // nothing of the second one would be committed.
            None => Statement::once("the request was run twice"),
        }
    })
}
