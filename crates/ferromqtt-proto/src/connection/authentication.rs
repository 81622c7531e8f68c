//! Which side sends the next AUTH (section 4.12).

/// How far an exchange of AUTH packets is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AuthExchange {
    /// None is under way.
    #[default]
    Over,
    /// This client has sent the last packet, and the server answers next.
    ServerAnswers,
    /// The server has sent the last packet, and the application answers next.
    ClientAnswers,
}
