//! The functions of policy. Their types, stages and documentation stand in `stdlib/functions`; here is
//! what they do.

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
