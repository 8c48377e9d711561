//! Why a request was not accepted: what the sender may read.

use crate::capture::claim::ClaimError;

macro_rules! refusal_codes {
    ($($variant:ident $word:literal $title:literal $retryable:literal;)*) => {
        /// Each has a heading in `api-spec/problems.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalCode { $($variant),* }

        impl RefusalCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Stable machine word: `code` of the problem document.
            #[must_use]
            pub fn word(self) -> &'static str { match self { $(Self::$variant => $word),* } }

            #[must_use]
            pub fn title(self) -> &'static str { match self { $(Self::$variant => $title),* } }

            /// True where the same request may succeed later.
            #[must_use]
            pub fn is_retryable(self) -> bool { match self { $(Self::$variant => $retryable),* } }
        }
    };
}

refusal_codes! {
    Malformed "malformed" "The request cannot be read" false;
    Unauthenticated "unauthenticated" "Sign in first" false;
    Forbidden "forbidden" "Not permitted" false;
    NotFound "not-found" "There is no such thing" false;
    MethodNotAllowed "method-not-allowed" "Not this method" false;
    Conflict "conflict" "Not as things stand" true;
    LengthRequired "length-required" "Say how long it is" false;
    TooLarge "too-large" "Too large" false;
    Timeout "timeout" "Too slow" true;
    UnsupportedMedia "unsupported-media" "Not a kind of file that is accepted" false;
    DamagedMedia "damaged-media" "The file is damaged" false;
    ClaimInvalid "claim-invalid" "The claim is not valid" false;
    IdempotencyMismatch "idempotency-mismatch" "This Idempotency-Key was used for something else" false;
    UnknownPatient "unknown-patient" "The hospital does not know this patient" false;
    Busy "busy" "Too many requests" true;
    SpoolFull "spool-full" "There is no space left to promise anything" true;
    Unavailable "unavailable" "The gateway cannot accept just now" true;
}

/// One refusal. `detail` tells what happened, why, and what to do; never patient data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    pub detail: String,
    /// The file at fault, counted from 1 in the order received.
    pub part: Option<u16>,
    pub limit_bytes: Option<u64>,
    pub errors: Vec<ClaimError>,
    /// The same request meets the same refusal until something else is done, whatever is usual for
    /// the code.
    pub lasts: bool,
}

impl Refusal {
    #[must_use]
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), part: None, limit_bytes: None, errors: Vec::new(), lasts: false }
    }

    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.code.is_retryable() && !self.lasts
    }
}
