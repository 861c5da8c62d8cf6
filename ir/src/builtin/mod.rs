//! The functions of policy. Their types, stages and documentation stand in `stdlib/functions`; here is
//! what they do.

pub(crate) mod collection;
pub(crate) mod encode;
pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod logic;
pub(crate) mod number;
pub(crate) mod printf;
pub(crate) mod quote;
pub(crate) mod text;
pub(crate) mod version;
pub(crate) mod yaml;

use crate::value::Value;

/// Why a function gives no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What it cannot take, in words.
    Message(String),
    /// The result would be longer than the limit it was given.
    TooMuchText,
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Fault::Message(message.to_owned())
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::Message(message)
    }
}

pub(crate) type Answer = Result<Value, Fault>;

/// Computes a [`Kind::Pure`] function. `limit` bounds the text of the result before it is built.
///
/// Go's functions do what `text/template` of Go 1.19 does; the others have the argument order of Sprig.
pub(crate) fn call(f: Builtin, args: &[Value], limit: u64) -> Answer {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match f {
        Builtin::Eq => logic::eq(args),
        Builtin::Ne => logic::ne(args),
        Builtin::Lt => logic::lt(args),
        Builtin::Le => logic::le(args),
        Builtin::Gt => logic::gt(args),
        Builtin::Ge => logic::ge(args),
        Builtin::Not => logic::not(args),
        Builtin::Len => collection::len(args),
        Builtin::Index => collection::index(args),
        Builtin::Slice => collection::slice(args),
        Builtin::Join => collection::join(args, limit),
        Builtin::Split => collection::split(args),
        Builtin::Print => text::print(args),
        Builtin::Println => text::println(args),
        Builtin::Printf => printf::printf(args, limit),
        Builtin::Html => escape::html(args),
        Builtin::Js => escape::js(args),
        Builtin::UrlQuery => escape::urlquery(args),
        Builtin::Upper => text::upper(args),
        Builtin::Lower => text::lower(args),
        Builtin::Trim => text::trim(args),
        Builtin::Replace => text::replace(args, limit),
        Builtin::Quote => text::quote(args),
        Builtin::Squote => text::squote(args),
        Builtin::Indent => text::indent(args, limit),
        Builtin::Nindent => text::nindent(args, limit),
        Builtin::ToJson => json::to_json(args),
        Builtin::ToYaml => yaml::to_yaml(args),
        Builtin::Sha256 => encode::sha256(args),
        Builtin::Base64 => encode::base64(args),
        // `and`, `or` and `default` decide what is evaluated at all; the rest asks the world.
        _ => Err("is not a function of its arguments alone".into()),
    }
}

/// The arguments as an array of the right length.
fn exactly<const N: usize>(args: &[Value]) -> Result<&[Value; N], Fault> {
    args.try_into().map_err(|_| Fault::Message(format!("takes {N} arguments, got {}", args.len())))
}

fn string(value: &Value) -> Result<&str, Fault> {
    value.as_str().ok_or_else(|| Fault::Message(format!("expected a string, found {}", value.kind())))
}

fn int(value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(i) => Ok(*i),
        v => Err(Fault::Message(format!("expected an int, found {}", v.kind()))),
    }
}

fn within(bytes: Option<usize>, limit: usize) -> Result<(), Fault> {
    if bytes.is_some_and(|b| b <= limit) { Ok(()) } else { Err(Fault::TooMuchText) }
}

macro_rules! builtins {
    ($($variant:ident = $name:literal, $kind:ident;)*) => {
        /// A function by its name in policy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Builtin {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Builtin {
            /// Every function.
            pub const ALL: &[Builtin] = &[$(Builtin::$variant,)*];

            /// As written in policy and in the encoding.
            pub fn name(self) -> &'static str {
                match self { $(Builtin::$variant => $name,)* }
            }

            /// What it needs to be computed.
            pub fn kind(self) -> Kind {
                match self { $(Builtin::$variant => Kind::$kind,)* }
            }

            /// The inverse of [`Builtin::name`].
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Builtin::$variant),)* _ => None }
            }
        }
    };
}

/// What a function needs besides its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Pure,
    /// Traits, read through [`crate::Facts::path`].
    Traits,
    /// [`crate::Facts::ask`]: what a class is (environment, roles, modules).
    Class,
    /// [`crate::Facts::ask`]: the host, the clock or the run.
    Agent,
}

builtins! {
    Eq = "eq", Pure;
    Ne = "ne", Pure;
    Lt = "lt", Pure;
    Le = "le", Pure;
    Gt = "gt", Pure;
    Ge = "ge", Pure;
    And = "and", Pure;
    Or = "or", Pure;
    Not = "not", Pure;
    Len = "len", Pure;
    Index = "index", Pure;
    Print = "print", Pure;
    Printf = "printf", Pure;
    Println = "println", Pure;
    Slice = "slice", Pure;
    UrlQuery = "urlquery", Pure;
    Html = "html", Pure;
    Js = "js", Pure;
    Join = "join", Pure;
    Split = "split", Pure;
    Upper = "upper", Pure;
    Lower = "lower", Pure;
    Trim = "trim", Pure;
    Replace = "replace", Pure;
    Default = "default", Pure;
    Quote = "quote", Pure;
    Squote = "squote", Pure;
    Indent = "indent", Pure;
    Nindent = "nindent", Pure;
    ToJson = "toJson", Pure;
    ToYaml = "toYaml", Pure;
    Sha256 = "sha256", Pure;
    Base64 = "base64", Pure;
    OsFamily = "os_family", Traits;
    Distro = "distro", Traits;
    Arch = "arch", Traits;
    VersionGe = "version_ge", Traits;
    VersionLt = "version_lt", Traits;
    IsContainer = "is_container", Traits;
    IsVirtual = "is_virtual", Traits;
    HasTrait = "has_trait", Traits;
    HasPackage = "has_package", Agent;
    FileExists = "file_exists", Agent;
    DirExists = "dir_exists", Agent;
    ProcessRunning = "process_running", Agent;
    PortListening = "port_listening", Agent;
    CommandSucceeds = "command_succeeds", Agent;
    HourRange = "hour_range", Agent;
    MinuteRange = "minute_range", Agent;
    LocalTime = "local_time", Agent;
    DayOfWeek = "day_of_week", Agent;
    DayOfMonth = "day_of_month", Agent;
    EnvIs = "env_is", Class;
    HasRole = "has_role", Class;
    HasModule = "has_module", Class;
    Changed = "changed", Agent;
}
