//! Telling the rest of the server, and other servers on the same database, that something changed.
//!
//! A topic says that there is something new, not what: whoever waits looks into the database. So a word that is
//! said twice, or by somebody else, costs a look and nothing more.

use tokio::sync::watch;

/// What can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// An envoy was enrolled or revoked.
    Envoys,
    /// A release was made, or publishing frozen or thawed.
    Releases,
    /// There is a new task, or one was taken back.
    Tasks,
    /// An envoy is to get its bundle again, or has got it.
    Pushes,
}

impl Topic {
    /// All there are.
    pub const ALL: [Topic; 4] = [Topic::Envoys, Topic::Releases, Topic::Tasks, Topic::Pushes];

    /// How it is called in a notification.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Envoys => "envoys",
            Topic::Releases => "releases",
            Topic::Tasks => "tasks",
            Topic::Pushes => "pushes",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// A counter for each topic; it grows with every change.
#[derive(Debug)]
pub struct Topics {
    envoys: watch::Sender<u64>,
    releases: watch::Sender<u64>,
    tasks: watch::Sender<u64>,
    pushes: watch::Sender<u64>,
}

impl Default for Topics {
    fn default() -> Self {
        let counter = || watch::Sender::new(0);
        Topics { envoys: counter(), releases: counter(), tasks: counter(), pushes: counter() }
    }
}

impl Topics {
    fn sender(&self, topic: Topic) -> &watch::Sender<u64> {
        match topic {
            Topic::Envoys => &self.envoys,
            Topic::Releases => &self.releases,
            Topic::Tasks => &self.tasks,
            Topic::Pushes => &self.pushes,
        }
    }

    /// Says that something changed.
    pub fn say(&self, topic: Topic) {
        self.sender(topic).send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Says it of everything: somebody wrote, and nobody knows what.
    pub fn say_all(&self) {
        Topic::ALL.into_iter().for_each(|topic| self.say(topic));
    }

    /// Hears what is said from now on.
    pub fn watch(&self, topic: Topic) -> watch::Receiver<u64> {
        self.sender(topic).subscribe()
    }
}
