//! The database on a thread of its own, so that no worker waits for a disk. The queue to it is bounded, and each network
//! has a share. Between requests, the thread keeps the files beside the database as the database, also after changes of
//! other processes, and moves events to the audit log.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::database::{AccountDatabase, PATIENCE, REQUEST_PATIENCE};
use crate::error::AccountsError;
use crate::event::AccountEvent;
use crate::meters::AccountMeters;
use witgate_base::breaker::CallerDigest;
use witgate_base::seal::MacKey;
use witgate_base::signing::PublishedKeys;
use witgate_config::accounts::AccountPlace;
use witgate_runtime::log::throttle::LogThrottle;
use witgate_runtime::shares::{Capacity, Shares};

/// The requests that wait. A request takes a millisecond, mostly for the disk.
const QUEUE: Capacity = Capacity { most: 256, most_of_one: 64 };

/// The longest time of a request, with its wait.
const DEADLINE: Duration = Duration::from_secs(3);

/// The time between two looks at the database for changes of other processes.
const LOOK: Duration = Duration::from_secs(1);

type DatabaseJob = Box<dyn FnOnce(&mut AccountDatabase) + Send>;

/// Takes events for the audit log.
pub type EventSink = Arc<dyn Fn(AccountEvent) + Send + Sync>;

/// The accounts of a running Witgate.
pub struct AccountStore {
    jobs: SyncSender<DatabaseJob>,
    places: Shares<CallerDigest>,
    /// The key of client ids.
    clients: MacKey,
    /// The key of forms.
    forms: MacKey,
    keys: Arc<PublishedKeys>,
    sink: EventSink,
    meters: Arc<AccountMeters>,
}

impl std::fmt::Debug for AccountStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountStore").field("meters", &self.meters).finish_non_exhaustive()
    }
}

impl AccountStore {
    /// Opens the accounts at `place`, whose events nobody takes.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn open(place: &AccountPlace) -> Result<Self, AccountsError> {
        Self::open_recorded(place, Arc::new(drop))
    }

    /// Opens the accounts at `place`, writes the files beside them, and starts their thread. Events go to `sink`.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn open_recorded(place: &AccountPlace, sink: EventSink) -> Result<Self, AccountsError> {
        // Nobody waits for a start.
        let mut database = AccountDatabase::open_within(place, PATIENCE)?;
        database.publish()?;
        database.wait_within(REQUEST_PATIENCE)?;
        let (clients, forms) = (database.mac_key("client ids"), database.mac_key("forms"));
        let (keys, path) = (database.published_keys(), place.store.clone());
        let (jobs, queue) = sync_channel(QUEUE.most);
        let meters = Arc::<AccountMeters>::default();
        let keeper = DatabaseKeeper {
            database,
            sink: Arc::clone(&sink),
            meters: Arc::clone(&meters),
            throttle: LogThrottle::default(),
        };
        let spawned = thread::Builder::new().name("accounts".to_owned()).spawn(move || keeper.serve(&queue));
        spawned.map_err(|error| AccountsError::Io { path, error })?;
        Ok(Self { jobs, places: Shares::new(QUEUE), clients, forms, keys, sink, meters })
    }

    /// Runs `work` on the thread of the database, for a request from `source`. Work that has begun is done even if nobody
    /// waits for it any more.
    ///
    /// # Errors
    /// `Busy`, those of an unusable database, and those of `work`.
    pub async fn run<T, E>(
        &self,
        source: CallerDigest,
        work: impl FnOnce(&mut AccountDatabase) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<AccountsError> + Send + 'static,
    {
        let place = self.places.take(&source).ok_or(AccountsError::Busy)?;
        let (sender, receiver) = oneshot::channel();
        let deadline = Instant::now() + DEADLINE;
        let job = move |database: &mut AccountDatabase| {
            let _place = place;
            if Instant::now() >= deadline {
                return;
            }
            database.act_as(None);
            database.seen_from(None);
            drop(sender.send(database.follow().map_err(E::from).and_then(|()| work(database))));
        };
        self.jobs.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => AccountsError::Busy,
            TrySendError::Disconnected(_) => AccountsError::Unavailable("its thread has ended".to_owned()),
        })?;
        match timeout(DEADLINE, receiver).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(AccountsError::Busy.into()),
        }
    }

    /// Records an event that changes nothing in the database.
    pub(crate) fn record(&self, event: AccountEvent) {
        (self.sink)(event);
    }

    /// The counts of logins and tokens.
    pub fn meters(&self) -> &Arc<AccountMeters> {
        &self.meters
    }

    /// The public keys of tokens.
    pub(crate) fn keys(&self) -> &PublishedKeys {
        &self.keys
    }

    /// The key of client ids.
    pub fn clients(&self) -> &MacKey {
        &self.clients
    }

    /// The key of forms.
    pub fn forms(&self) -> &MacKey {
        &self.forms
    }
}

/// The thread of the database.
struct DatabaseKeeper {
    database: AccountDatabase,
    sink: EventSink,
    meters: Arc<AccountMeters>,
    throttle: LogThrottle,
}

impl DatabaseKeeper {
    /// Does the work until the store is dropped.
    fn serve(mut self, queue: &Receiver<DatabaseJob>) {
        let mut last = Instant::now();
        loop {
            let is_over = match queue.recv_timeout(LOOK) {
                Ok(job) => {
                    job(&mut self.database);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if is_over || last.elapsed() >= LOOK {
                last = Instant::now();
                self.look();
            }
            if is_over {
                return;
            }
        }
    }

    fn look(&mut self) {
        let kept = self.database.keep_up();
        self.meters.kept(kept.is_err(), self.database.listed_endings().ok());
        let moved = self.database.move_events(&*self.sink);
        if let Err(error) = kept.and(moved)
            && let Some(others) = self.throttle.turn()
        {
            let (code, error) = (error.code(), error.to_string());
            tracing::error!(code, others, "logins that have ended may still be accepted: {error}");
        }
    }
}
