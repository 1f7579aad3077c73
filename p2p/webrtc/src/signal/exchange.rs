//! Checks the order of the remote's messages: its description first and once, then candidates.

use super::{
    description,
    error::BadSignal,
    limits::{CANDIDATE_LEN_MAX, CANDIDATES_MAX},
    message::Message,
};

/// The role of one side in the signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the stream; sends the offer.
    Dialer,
    /// Sends the answer.
    Listener,
}

/// The state of the remote's half of an exchange. It stores no text: each message is checked and
/// returned.
#[derive(Clone, Debug)]
pub struct Exchange {
    role: Role,
    is_described: bool,
    candidates: usize,
}

/// A message that is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The remote's description, and the window that it announces.
    Description {
        /// The description, unchanged.
        sdp: String,
        /// The window of each new stream; `None` from a remote without flow control.
        window: Option<u64>,
    },
    /// A candidate's JSON.
    Candidate(String),
    /// The remote has no more candidates.
    NoMoreCandidates,
}

impl Exchange {
    /// Creates the state before the first message.
    pub fn new(role: Role) -> Self {
        Self { role, is_described: false, candidates: 0 }
    }

    /// The name of the expected description, for errors.
    fn expected(&self) -> &'static str {
        match self.role {
            Role::Dialer => "an answer",
            Role::Listener => "an offer",
        }
    }

    /// Checks the remote's next message; `None` stands for the end of its stream. After an error
    /// the signalling has failed.
    pub fn receive(&mut self, message: Option<Message>) -> Result<Received, BadSignal> {
        match (self.role, message) {
            (_, None) if !self.is_described => Err(BadSignal::Ended(self.expected())),
            (_, None) => Ok(Received::NoMoreCandidates),
            (Role::Dialer, Some(Message::Answer(sdp)))
            | (Role::Listener, Some(Message::Offer(sdp)))
                if !self.is_described =>
            {
                let checked = description::check(&sdp)?;
                self.is_described = true;
                self.candidates = checked.candidates;
                Ok(Received::Description { sdp, window: checked.window })
            }
            (_, Some(Message::Candidate(json))) if self.is_described => self.candidate(json),
            (_, Some(other)) => {
                let expected = if self.is_described { "a candidate" } else { self.expected() };
                Err(BadSignal::Order { got: other.name(), expected })
            }
        }
    }

    fn candidate(&mut self, json: String) -> Result<Received, BadSignal> {
        if json.len() > CANDIDATE_LEN_MAX {
            return Err(BadSignal::LongCandidate(json.len()));
        }
        // Some browsers mark the end of the candidates in this way. It counts towards the limit, or
        // a remote could repeat it for ever.
        self.candidates += 1;
        if self.candidates > CANDIDATES_MAX {
            return Err(BadSignal::ManyCandidates);
        }
        match json.trim() {
            "" | "null" | "\"\"" => Ok(Received::NoMoreCandidates),
            text if text.starts_with('{') && text.ends_with('}') => Ok(Received::Candidate(json)),
            _ => Err(BadSignal::Candidate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::description::{tests::offer, with_window};

    const CANDIDATE: &str = concat!(
        r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","#,
        r#""sdpMid":"0","sdpMLineIndex":0}"#
    );

    fn candidate() -> Option<Message> {
        Some(Message::Candidate(CANDIDATE.into()))
    }

    #[test]
    fn a_description_then_candidates() {
        let mut dialer = Exchange::new(Role::Dialer);
        let sdp = with_window(&offer(), 7);
        let described = Received::Description { sdp: sdp.clone(), window: Some(7) };
        assert_eq!(dialer.receive(Some(Message::Answer(sdp))), Ok(described));
        assert_eq!(dialer.receive(candidate()), Ok(Received::Candidate(CANDIDATE.into())));
        for end in ["", "null", "\"\""] {
            assert_eq!(
                dialer.receive(Some(Message::Candidate(end.into()))),
                Ok(Received::NoMoreCandidates)
            );
        }
        assert_eq!(
            dialer.receive(None),
            Ok(Received::NoMoreCandidates),
            "signalling may end before ICE does"
        );
    }

    #[test]
    fn every_other_order_is_refused() {
        let order = |got, expected| Err(BadSignal::Order { got, expected });
        let (dialer, listener) = (|| Exchange::new(Role::Dialer), || Exchange::new(Role::Listener));
        assert_eq!(dialer().receive(Some(Message::Offer(offer()))), order("an offer", "an answer"));
        assert_eq!(
            listener().receive(Some(Message::Answer(offer()))),
            order("an answer", "an offer")
        );
        assert_eq!(listener().receive(candidate()), order("a candidate", "an offer"));
        assert_eq!(dialer().receive(candidate()), order("a candidate", "an answer"));
        assert_eq!(dialer().receive(None), Err(BadSignal::Ended("an answer")));
        let mut twice = listener();
        assert!(twice.receive(Some(Message::Offer(offer()))).is_ok());
        assert_eq!(twice.receive(Some(Message::Offer(offer()))), order("an offer", "a candidate"));
        assert_eq!(
            twice.receive(Some(Message::Answer(offer()))),
            order("an answer", "a candidate")
        );
    }

    #[test]
    fn the_thirty_third_candidate_is_refused() {
        let mut listener = Exchange::new(Role::Listener);
        // Two candidates are in the description.
        let inside = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(2);
        assert!(listener.receive(Some(Message::Offer(offer() + &inside))).is_ok());
        for _ in 2..CANDIDATES_MAX {
            assert!(listener.receive(candidate()).is_ok());
        }
        assert_eq!(listener.receive(candidate()), Err(BadSignal::ManyCandidates));
        let mut listener = Exchange::new(Role::Listener);
        assert!(listener.receive(Some(Message::Offer(offer()))).is_ok());
        for _ in 0..CANDIDATES_MAX {
            assert!(listener.receive(Some(Message::Candidate(String::new()))).is_ok());
        }
        assert_eq!(
            listener.receive(Some(Message::Candidate(String::new()))),
            Err(BadSignal::ManyCandidates)
        );
    }

    #[test]
    fn candidates_are_bounded_and_must_be_json_objects() {
        let mut dialer = Exchange::new(Role::Dialer);
        assert!(dialer.receive(Some(Message::Answer(offer()))).is_ok());
        let mut receive = |text: String| dialer.receive(Some(Message::Candidate(text)));
        let long = format!("{{{}}}", " ".repeat(CANDIDATE_LEN_MAX));
        let len = long.len();
        assert_eq!(receive(long), Err(BadSignal::LongCandidate(len)));
        for bad in ["candidate:1 1 udp", "[]", "1", "{", "\"{}\""] {
            assert_eq!(receive(bad.into()), Err(BadSignal::Candidate), "{bad}");
        }
    }
}
