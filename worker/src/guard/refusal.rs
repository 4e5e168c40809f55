//! Why a request is refused, with which status, and by which rule. docs/http.md lists them all (a test looks).

use http::StatusCode;
use rustcorn_scoreboard::Refusal;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $class:ident $status:ident $text:literal, $rule:literal;)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub(crate) enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them, in the order of the docs.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// What the client is answered.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What it is counted as.
            pub(crate) const fn class(self) -> Refusal {
                match self { $(Self::$name => Refusal::$class,)* }
            }

            /// In words, for the log and the client.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Where it is written that this is wrong.
            pub(crate) const fn rule(self) -> &'static str {
                match self { $(Self::$name => $rule,)* }
            }
        }
    };
}

reasons! {
    // Lines.
    BareLf Line BAD_REQUEST "line that ends with LF alone", "RFC 9112, 2.2";
    BareCr Line BAD_REQUEST "CR without LF", "RFC 9112, 2.2";
    ControlCharacter Line BAD_REQUEST "control character", "RFC 9110, 5.5";
    BlankLine Line BAD_REQUEST "blank line before the request line", "RFC 9112, 2.2";
    // The request line.
    LineTooLong Size URI_TOO_LONG "request line over limit_request_line", "RFC 9112, 3";
    RequestLine Line BAD_REQUEST "request line that is not method, target and version with one blank between", "RFC 9112, 3";
    Method Line BAD_REQUEST "invalid method", "RFC 9110, 9.1";
    Version Line BAD_REQUEST "invalid HTTP version", "RFC 9112, 2.3";
    VersionUnknown Line HTTP_VERSION_NOT_SUPPORTED "HTTP version that is not 1.x", "RFC 9110, 15.6.6";
    Target Line BAD_REQUEST "invalid request target", "RFC 9112, 3.2";
    Fragment Line BAD_REQUEST "fragment in the request target", "RFC 9112, 3.2";
    Asterisk Line BAD_REQUEST "target * with another method than OPTIONS", "RFC 9112, 3.2.4";
    ConnectTarget Line BAD_REQUEST "CONNECT without HOST:PORT as its target", "RFC 9112, 3.2.3";
    TargetAuthority Line BAD_REQUEST "invalid authority in the request target", "RFC 9110, 4.2";
    // Headers.
    HeadTooLarge Size REQUEST_HEADER_FIELDS_TOO_LARGE "head over limit_request_head", "RFC 6585, 5";
    FieldTooLarge Size REQUEST_HEADER_FIELDS_TOO_LARGE "header over limit_request_field_size", "RFC 6585, 5";
    TooManyFields Size REQUEST_HEADER_FIELDS_TOO_LARGE "more headers than limit_request_fields", "RFC 6585, 5";
    LeadingBlank Header BAD_REQUEST "blank before the first header", "RFC 9112, 2.2";
    Folded Header BAD_REQUEST "folded header line", "RFC 9112, 5.2";
    NoColon Header BAD_REQUEST "header line without colon", "RFC 9112, 5";
    HeaderName Header BAD_REQUEST "invalid header name", "RFC 9110, 5.1";
    BlankBeforeColon Header BAD_REQUEST "blank between header name and colon", "RFC 9112, 5.1";
    BlankAroundValue Header BAD_REQUEST "blank before or after the value of a header of HTTP/2", "RFC 9113, 8.2.1";
    Underscore Header BAD_REQUEST "header name with an underscore", "header_map";
    NoHost Header BAD_REQUEST "no Host header", "RFC 9112, 3.2";
    TwoHosts Header BAD_REQUEST "more than one Host header", "RFC 9112, 3.2";
    Host Header BAD_REQUEST "invalid Host header", "RFC 9112, 3.2";
    HostDiffers Header BAD_REQUEST "Host header and request target differ", "RFC 9112, 3.2";
    TwoContentTypes Header BAD_REQUEST "more than one Content-Type header", "RFC 9110, 8.3";
    Expectation Header EXPECTATION_FAILED "Expect header other than 100-continue", "RFC 9110, 10.1.1";
    SchemeConflict Header BAD_REQUEST "headers that contradict each other about the scheme", "secure_scheme_headers";
    // Where the message ends.
    LengthAndChunked Framing BAD_REQUEST "both Content-Length and Transfer-Encoding", "RFC 9112, 6.1";
    TwoLengths Framing BAD_REQUEST "more than one Content-Length", "RFC 9112, 6.3";
    Length Framing BAD_REQUEST "invalid Content-Length", "RFC 9112, 6.3";
    TwoTransferEncodings Framing BAD_REQUEST "more than one Transfer-Encoding", "RFC 9112, 6.1";
    TransferEncoding Framing BAD_REQUEST "Transfer-Encoding other than chunked, once and last", "RFC 9112, 6.1";
    UnknownCoding Framing NOT_IMPLEMENTED "unknown transfer coding", "RFC 9112, 6.1";
    ChunkedIn10 Framing BAD_REQUEST "Transfer-Encoding in HTTP/1.0", "RFC 9112, 6.1";
    ConnectBody Framing BAD_REQUEST "CONNECT with a body", "RFC 9110, 9.3.6";
    // The body.
    BodyTooLarge Size PAYLOAD_TOO_LARGE "body over max_body_size", "RFC 9110, 15.5.14";
    ChunkSize Framing BAD_REQUEST "invalid chunk size", "RFC 9112, 7.1";
    ChunkLine Size BAD_REQUEST "chunk size line that is too long", "RFC 9112, 7.1.1";
    ChunkExtension Framing BAD_REQUEST "invalid chunk extension", "RFC 9112, 7.1.1";
    ChunkExtensions Size BAD_REQUEST "too many chunk extensions", "RFC 9112, 7.1.1";
    ChunkEnd Framing BAD_REQUEST "chunk that is not followed by CRLF", "RFC 9112, 7.1";
    TrailerName Framing BAD_REQUEST "invalid trailer", "RFC 9112, 7.1.2";
    TrailerForbidden Framing BAD_REQUEST "trailer that may only be a header", "RFC 9110, 6.5.1";
    TrailersTooLarge Size REQUEST_HEADER_FIELDS_TOO_LARGE "trailers that are too large", "RFC 6585, 5";
    // Time.
    HeaderTimeout Time REQUEST_TIMEOUT "head slower than header_timeout allows", "RFC 9110, 15.5.9";
    BodyTimeout Time REQUEST_TIMEOUT "body slower than body_timeout and body_min_rate allow", "RFC 9110, 15.5.9";
    // The PROXY protocol.
    ProxyHeader Proxy BAD_REQUEST "invalid PROXY header", "PROXY protocol, 2";
    ProxyPeer Proxy FORBIDDEN "PROXY header from a peer that is not in proxy_allow_ips", "proxy_allow_ips";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text(), self.rule())
    }
}

/// What hyper is told of a body that is refused; `body::BodyError` finds it again.
impl std::error::Error for Reason {}
