//! The database on a thread of its own, so that no worker waits for a disk. The queue to it is bounded, and each network
//! has a share.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::database::AccountDatabase;
use crate::error::AccountsError;
use witgate_base::breaker::CallerDigest;
use witgate_base::seal::MacKey;
use witgate_config::accounts::AccountPlace;
use witgate_runtime::shares::{Capacity, Shares};

/// The requests that wait. A request takes a millisecond, mostly for the disk.
const QUEUE: Capacity = Capacity { most: 256, most_of_one: 64 };

/// The pause between attempts to write a file beside the database.
const RETRY: Duration = Duration::from_secs(1);

type DatabaseJob = Box<dyn FnOnce(&mut AccountDatabase) + Send>;

/// The accounts of a running Witgate.
#[derive(Debug)]
pub struct AccountStore {
    jobs: SyncSender<DatabaseJob>,
    places: Shares<CallerDigest>,
    /// The key of client ids.
    clients: MacKey,
    /// The key of forms.
    forms: MacKey,
}

impl AccountStore {
    /// Opens the accounts at `place`, writes the files beside them, and starts their thread.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn open(place: &AccountPlace) -> Result<Self, AccountsError> {
        let mut database = AccountDatabase::open(place)?;
        database.publish()?;
        Self::of(database)
    }

    /// The accounts of an open database.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn of(database: AccountDatabase) -> Result<Self, AccountsError> {
        let clients = database.mac_key("client ids");
        let forms = database.mac_key("forms");
        let path = database.place().store.clone();
        let (jobs, queue) = sync_channel(QUEUE.most);
        let thread = thread::Builder::new().name("accounts".to_owned());
        let spawned = thread.spawn(move || serve(database, &queue));
        spawned.map_err(|error| AccountsError::Io { path, error })?;
        Ok(Self { jobs, places: Shares::new(QUEUE), clients, forms })
    }

    /// Runs `work` on the thread of the database, for a request from `source`. The work is done even if nobody waits for
    /// it any more.
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
        let job = move |database: &mut AccountDatabase| {
            let done = database.follow().map_err(E::from).and_then(|()| work(database));
            drop(place);
            drop(sender.send(done));
        };
        self.jobs.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => AccountsError::Busy,
            TrySendError::Disconnected(_) => AccountsError::Unavailable("its thread has ended".to_owned()),
        })?;
        let ended = || AccountsError::Unavailable("its thread has ended".to_owned());
        receiver.await.map_err(|_| E::from(ended()))?
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

/// Does the work until the store is dropped.
fn serve(mut database: AccountDatabase, queue: &Receiver<DatabaseJob>) {
    let mut last = Instant::now();
    loop {
        match queue.recv_timeout(RETRY) {
            Ok(job) => job(&mut database),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if last.elapsed() >= RETRY {
            last = Instant::now();
            database.catch_up();
        }
    }
}
