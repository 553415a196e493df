//! Everything that can go wrong, one small enum per kind of mistake.
//!
//! [`Error`] ends a connection and says precisely why; what the peer is told is coarse ([`Alert`],
//! [`Refusal`], [`CloseReason`]). [`SendError`] is misuse or lack of room and leaves the connection as it was.

use core::fmt;

/// Declares an enum whose variants carry the sentence that explains them.
macro_rules! sentences {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $(($($field:ident: $ty:ty),+))? = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant $(($($ty),+))?,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($name::$variant $(($($field),+))? => write!(f, $text),)+ }
            }
        }

        impl core::error::Error for $name {}
    };
}

/// Declares the codes of one kind of reason as they travel: one byte each, unknown ones kept.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A code that this version does not know.
            Other(u8),
        }

        impl $name {
            /// The reason that `code` stands for on the wire.
            #[inline(never)] // One copy for its many callers: 0.1 KiB of flash.
            pub const fn from_code(code: u8) -> Self {
                match code { $($code => $name::$variant,)+ other => $name::Other(other) }
            }

            /// The byte that stands for this reason on the wire.
            pub const fn code(self) -> u8 {
                match self { $($name::$variant => $code,)+ $name::Other(code) => code }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($name::$variant => f.write_str($text),)+
                    $name::Other(code) => write!(f, "for a reason unknown to this version (code {code})"),
                }
            }
        }
    };
}

sentences! {
    /// Why a connection is over. Fatal: it stays ended. Its secrets are wiped once its last word is flushed, or when it
    /// is dropped.
    Error {
        /// The other side does not speak pysock; noticed at its first wrong byte.
        NotPysock = "the other side does not speak pysock",
        /// The client's prelude names a protocol version that is not spoken here.
        Version(v: u8) = "the client speaks version {v} of the protocol, this is version 1",
        /// The client's prelude names a cipher suite that is not spoken here.
        Suite(s: u8) = "cipher suite {s} is not supported here",
        /// The client's prelude names a handshake pattern that is not spoken here.
        Pattern(p: u8) = "handshake pattern {p} is not supported here",
        /// The client's prelude sets a flag that this version does not know, or a hint without its flag.
        Flags(bits: u8) = "the prelude has unknown flags ({bits:#04x}) or a hint without its flag",
        /// This server takes only clients that hold a pre-shared key.
        PskRequired = "the client offered no pre-shared key and this server requires one",
        /// The server gave up in clear text. Anyone on the path can forge this: it proves nothing.
        Alert(a: Alert) = "the server answered in clear text that {a}",
        /// A handshake message has a length that its pattern does not allow.
        HandshakeLength(n: u16) = "a handshake message of {n} bytes is not one of this handshake",
        /// A handshake message did not verify: another key than expected, another pre-shared key, or tampering.
        Handshake = "the handshake did not verify: wrong key, wrong pre-shared key, or tampering",
        /// A public key is a point of low order (RFC 7748 §6.1): the shared secret would be known to all.
        LowOrder = "the other side sent a public key of low order",
        /// A public key is not encoded as RFC 7748 does: the same secret would have several identities.
        KeyEncoding = "the other side sent a public key that is not canonically encoded",
        /// What a handshake message carries (limits, name) breaks the rules.
        Hello = "the other side announced limits or a name that break the rules",
        /// A decision was dropped, was made for another connection, or said no.
        Rejected = "the other side was not accepted here",
        /// The handshake was not complete by its deadline.
        HandshakeTimeout = "the handshake took too long",
        /// A record is empty or longer than the receiver's announced limit.
        RecordLength(n: u16) = "a record of {n} bytes is outside the announced limit",
        /// A record did not authenticate: it was altered, repeated, dropped or put in by somebody else.
        Tag = "a record did not authenticate",
        /// The frame of type `kind` breaks a rule.
        Frame(kind: u8, why: FrameError) = "frame {kind:#04x}: {why}",
        /// Nothing was heard from the other side for the negotiated idle time.
        Silent = "nothing was heard from the other side for the idle time",
        /// The stream of bytes ended without an authenticated close.
        Truncated = "the connection was cut without a close",
        /// The other side did not answer a close in time.
        CloseTimeout = "the other side did not answer the close",
        /// The caller lent a buffer that holds bytes of another connection.
        WrongBuffer = "a buffer that belongs to another connection was lent",
        /// The receive buffer cannot hold the record that is arriving.
        BufferTooSmall(need: u16) = "the receive buffer is too small, {need} bytes are needed",
        /// The connection was over already.
        Ended = "the connection is over",
    }
}

sentences! {
    /// Which rule a frame breaks.
    FrameError {
        /// The type is not known and not marked as ignorable.
        Unknown = "its type is unknown and not ignorable",
        /// The header or the body is cut short, or longer than the record.
        Length = "its length does not fit",
        /// The body does not decode.
        Body = "its body does not decode",
        /// A channel number that is not the next one.
        Channel = "it does not take the next channel number",
        /// Only the other role may send it.
        Role = "this side may not send it",
        /// The first frame of a server is `Welcome` or `Refused`, and neither comes later.
        Admission = "it comes before or after its time of admission",
        /// The stream is not open, is open already, or exceeds the announced number of streams.
        Stream = "its stream is not open, or open already, or one too many",
        /// More was sent on a stream than was granted.
        Credit = "it exceeds the credit granted to its stream",
        /// A stream carried more or fewer bytes than its beginning declared.
        StreamLength = "the stream's length differs from the declared one",
        /// More questions are unanswered than allowed, or an answer came to no question.
        Questions = "too many open questions, or an answer to none",
    }
}

sentences! {
    /// Why nothing was sent. The connection, the buffers and the counters are as they were.
    SendError {
        /// The handshake is not complete, or the connection is closing or over.
        NotOpen = "the connection is not open",
        /// The transmit buffer has no room now: write what is sealed, then `need` bytes more have to be free.
        Full(need: u16) = "the transmit buffer is full, {need} bytes are missing",
        /// No single frame of this length fits the receiver's limit or the buffer; `max` bytes would. Stream it.
        TooLong(max: u16) = "the message is too long for one record, {max} bytes would fit",
        /// The stream has no credit now; wait for [`Event::Credit`](crate::Event::Credit).
        NoCredit = "the receiver has granted no credit for this stream yet",
        /// The stream is not open.
        NoStream = "the stream is not open",
        /// As many streams are open as the receiver takes at once; wait for one to end.
        Streams = "the receiver takes no further stream now",
        /// As many questions are unanswered as the protocol allows; wait for an answer.
        Questions = "too many questions are unanswered",
        /// A stream carries exactly as many bytes as its beginning declared.
        StreamLength = "the stream carries more or fewer bytes than declared",
        /// Every channel number of this connection has been used.
        Channels = "this connection has used up its channel numbers",
        /// This role cannot send that.
        Role = "this side may not send that",
        /// The buffer holds an open record of another connection.
        WrongBuffer = "the transmit buffer belongs to another connection",
    }
}

sentences! {
    /// Why there is no session with another client. The connection to the server goes on.
    PeerError {
        /// The other side has not answered in time.
        TimedOut = "it did not answer in time",
        /// Somebody on the way, the other side or the server, says no. Nothing proves it.
        Refused(why: PeerRefusal) = "the answer was no: {why}",
        /// Somebody on the way says that the pinned key is not the other side's, or this side's key not the one it
        /// expects. Nothing proves it; a diagnosis finds out.
        NeedXx = "it does not recognise the keys of this session",
        /// A handshake message did not verify: another key than expected, or tampering.
        Handshake = "the handshake did not verify: another key than expected, or tampering",
        /// The server has told the two sides different names for one of them.
        Name = "the server calls one of the two by different names",
        /// The server did not pass the handshake on.
        Unreachable(why: Failure) = "it could not be reached: {why}",
        /// The other side broke a rule, authenticated.
        Protocol(kind: u8, why: FrameError) = "it broke a rule: frame {kind:#04x}: {why}",
        /// There is no room for another session or handshake here.
        Full = "there is no room for another session",
        /// A client has no session with itself.
        Own = "a client has no session with itself",
        /// A handshake with this peer is under way already.
        UnderWay = "a handshake with it is under way",
    }
}

sentences! {
    /// Why a group did not take something. Nothing of the sessions is affected.
    GroupError {
        /// A message or a control body does not decode.
        Malformed = "it does not decode",
        /// It is about another group.
        OtherGroup = "it is about another group",
        /// Who sent it is not in the group, as far as this side knows.
        NotMember = "that client is not in the group",
        /// Somebody else than the owner wants to change the group.
        NotOwner = "only the owner may change the group",
        /// This side, or that client, has another part in the group.
        Role = "that is not this client's part in the group",
        /// An epoch that is over, or that cannot be yet.
        Epoch = "it is from a time in which it cannot count",
        /// A message came twice, or too late.
        Repeated = "a later message of the same sender was taken already",
        /// A change does not follow from this side's view, which needs a snapshot.
        Stale = "this side's view of the group is too old for it",
        /// A snapshot is out of order, names somebody twice, or does not name the owner and this side.
        Snapshot = "the list of members breaks the rules",
        /// This side was in the group before and remembers nothing: it has to be added anew.
        Forgotten = "this side has forgotten the group and has to be added anew",
        /// There is no room for another member.
        Full = "there is no room for another member",
        /// It is in the group already.
        Duplicate = "that client is in the group already",
        /// A change is under way; wait for its end.
        Busy = "another change of the group is under way",
        /// This side has not joined yet, or may not send yet.
        NotActive = "this side's joining is not complete",
        /// The group is over for this side.
        Over = "the group is over for this side",
        /// The numbers of messages or of changes are used up.
        Used = "the numbers of this group are used up",
    }
}

sentences! {
    /// Why a text is not a key.
    KeyError {
        /// Not Bech32m: a wrong character, a wrong checksum, mixed case, or cut short.
        Malformed = "not a key: mistyped, or cut short",
        /// A well-formed text of another kind, such as a public key where a secret one belongs.
        WrongKind = "a key of another kind",
        /// The checksum is right but the key has a wrong length.
        WrongLength = "a key of wrong length",
    }
}

/// Why a text is not a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// It has more than `max` bytes.
    TooLong {
        /// The longest allowed, in bytes.
        max: u8,
    },
    /// A character that is not allowed.
    BadCharacter {
        /// Its offset in bytes.
        at: u8,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a name may not be empty"),
            NameError::TooLong { max } => write!(f, "a name may have at most {max} bytes"),
            NameError::BadCharacter { at } => {
                write!(
                    f,
                    "character {} of the name is not one of a-z 0-9 . _ - (channels also /)",
                    at.saturating_add(1)
                )
            }
        }
    }
}

impl core::error::Error for NameError {}

codes! {
    /// What a server says in clear text before it can say anything better. Proves nothing.
    Alert {
        /// It speaks another version of the protocol.
        Version = 1 "it speaks another version of the protocol",
        /// It does not support the cipher suite.
        Suite = 2 "it does not support the cipher suite",
        /// It does not support the handshake pattern or a flag.
        Pattern = 3 "it does not support the handshake pattern or a flag",
        /// It requires a pre-shared key.
        Psk = 4 "it requires a pre-shared key",
        /// It has no room for another connection now.
        Busy = 5 "it has no room for another connection now",
        /// The handshake failed.
        Failed = 6 "the handshake failed",
    }
}

codes! {
    /// Why a server does not admit an authenticated client. Codes from 0x80 mean: try again later.
    Refusal {
        /// The name is bound to another key.
        NameTaken = 1 "the name belongs to another key",
        /// The key is bound to another name.
        KeyHasName = 2 "this key is known here under another name",
        /// The server's list does not have this key and name.
        NotAllowed = 3 "this key is not on the server's list",
        /// The invitation (pre-shared key) is used up or unknown.
        NotInvited = 4 "a valid invitation is needed",
        /// The same key is connected by a newer connection, which is the active one.
        Replaced = 5 "the same key has connected again meanwhile",
        /// The server has as many clients as it takes.
        Full = 0x80 "the server is full",
        /// The name is in use by another connected client.
        NameInUse = 0x81 "the name is in use by a connected client with another key",
        /// The server failed to store the admission.
        Trouble = 0x82 "the server could not complete the admission",
        /// The server is closing.
        ShuttingDown = 0x83 "the server is shutting down",
    }
}

codes! {
    /// Why a side closes the connection. Codes from 0x80 mean: come back later.
    CloseReason {
        /// Done.
        Done = 0 "it was done",
        /// The operator or the program removed this client.
        Kicked = 1 "this client was removed by the server",
        /// The same key connected again, and the newest connection is the active one.
        Replaced = 2 "the same key connected from elsewhere",
        /// The other side broke a rule.
        Protocol = 3 "a rule of the protocol was broken",
        /// The answer to the other side's close, whose every message was read.
        Answered = 4 "the close was answered",
        /// The server is going down, perhaps to come back.
        ShuttingDown = 0x80 "the server is shutting down",
        /// This client reads too slowly: its queue is full.
        TooSlow = 0x81 "this client reads too slowly",
    }
}

codes! {
    /// Why a client wants no session with another. Codes from 0x80 mean: try again later. Proves nothing.
    PeerRefusal {
        /// It does not trust the key.
        NotTrusted = 1 "it does not trust this client's key",
        /// The server has told it other names.
        Name = 2 "the server calls one of the two by different names",
        /// It has no room for another session.
        Full = 0x80 "it has no room for another session",
        /// It has had too many handshakes lately.
        Busy = 0x81 "it has had too many handshakes lately",
    }
}

codes! {
    /// Why a message, request or stream did not get through.
    Failure {
        /// The channel does not exist here, or this client has not opened it.
        NoChannel = 1 "there is no such channel",
        /// No client with this name, key or id is connected.
        NoPeer = 2 "no such client is connected",
        /// The client has not opened the channel.
        NotOnChannel = 3 "the client is not on this channel",
        /// It is larger than the receiver takes.
        TooLarge = 4 "it is larger than the receiver takes",
        /// The responder went away after it got the request: nobody knows whether it acted.
        Unknown = 5 "the responder went away and may or may not have acted",
        /// Nobody there answers requests on this channel.
        NoResponder = 6 "nobody answers requests on this channel",
        /// The receiver's queue was full.
        Busy = 7 "the receiver is too busy",
        /// The sender stopped before the end.
        Cancelled = 8 "the sender stopped before the end",
        /// The destination is not one that this kind of message can have.
        BadDestination = 9 "this kind of message cannot go there",
        /// The client has opened the channel already.
        AlreadyOpen = 10 "the channel is open already",
        /// The client has opened as many channels as it may.
        TooMany = 11 "no further channel may be opened",
        /// The source of a stream was lost before its end.
        Incomplete = 12 "its source was lost before the end",
        /// The client was connected and is not any more.
        Gone = 13 "the client has gone away",
    }
}

impl Alert {
    /// The three bytes in clear text that say so: the length 1, and the code. For a server that turns connections away
    /// before it has a [`Connection`](crate::Connection) for them.
    pub const fn to_wire(self) -> [u8; 3] {
        [0, 1, self.code()]
    }
}

impl Refusal {
    /// Whether trying again later may help: bit 7 of the code.
    pub const fn is_temporary(self) -> bool {
        self.code() & 0x80 != 0
    }
}

impl PeerRefusal {
    /// Whether trying again later may help: bit 7 of the code.
    pub const fn is_temporary(self) -> bool {
        self.code() & 0x80 != 0
    }
}

impl CloseReason {
    /// Whether coming back later is welcome: bit 7 of the code.
    pub const fn is_temporary(self) -> bool {
        self.code() & 0x80 != 0
    }
}

// Errors travel through every call: small ones save flash and stack.
const _: () = assert!(size_of::<Error>() <= 4 && size_of::<SendError>() <= 4);
