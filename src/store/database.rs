//! The file of the store: redb, and the only place that names it.
//!
//! Every change is one transaction that is durable when it returns. Decides nothing but whether a claim was had before.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    Table, TableDefinition, WriteTransaction,
};

use super::claims::{Claim, Claimed};
use super::revocations::{Revocation, RevocationKind, Snapshot};
use super::writer::{Ask, Done, Revise};
use super::{StoreFault, StoreLimits, StoreUnopened};
use crate::clock::Timestamp;

/// Key to end and tie. An empty tie is none.
const CLAIMS: TableDefinition<&[u8; 32], (i64, &[u8])> = TableDefinition::new("claims");
/// The same by their end, so that those that are over are found without reading all.
const CLAIM_ENDS: TableDefinition<(i64, &[u8; 32]), ()> = TableDefinition::new("claim_ends");
/// Kind and name to: from, ends, until, note.
const REVOCATIONS: TableDefinition<(u8, &str), (i64, i64, i64, &str)> = TableDefinition::new("revocations");

/// A time that is not set.
const NEVER: i64 = i64::MAX;

/// Pages that are kept in memory. Claims are found by hash, so that more would not help much.
const CACHE: usize = 16 << 20;

/// Claims that one transaction forgets at most: nobody waits long behind it.
const FORGOTTEN_AT_ONCE: usize = 5_000;

/// The open file.
#[derive(Debug)]
pub(super) struct StoreFile {
    path: PathBuf,
    database: Database,
}

impl StoreFile {
    /// Opens the file, or makes it, mode 0600.
    ///
    /// Every page is checked, so that damage shows here and not in the middle of a request.
    pub(super) fn open(path: &Path) -> Result<Self, StoreUnopened> {
        let unreadable =
            |error: std::io::Error| StoreUnopened::Unreadable { path: path.into(), why: error.to_string() };
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unreadable)?;
        if path.try_exists().map_err(unreadable)? {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(unreadable)?;
            return Ok(Self { path: path.into(), database: open_whole(path, path, false)? });
        }
        // Made under another name: a file under this one is whole, or it is damaged.
        let new = path.with_extension("new");
        let _ = std::fs::remove_file(&new);
        let options = &mut std::fs::OpenOptions::new();
        options.create_new(true).write(true).mode(0o600).open(&new).map_err(unreadable)?;
        let database = open_whole(&new, path, true)?;
        let made = Self { path: path.into(), database };
        guarded(|| made.make_tables())
            .map_err(|fault| StoreUnopened::Unreadable { path: path.into(), why: fault.to_string() })?;
        std::fs::rename(&new, path).map_err(unreadable)?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(unreadable)?;
        Ok(made)
    }

    /// How many claims are kept, and everything that is revoked.
    pub(super) fn read(&self) -> Result<(u64, Snapshot), StoreUnopened> {
        let damaged = |fault: redb::Error| StoreUnopened::Damaged { path: self.path.clone(), why: fault.to_string() };
        guarded(|| read_all(&self.database)).map_err(damaged)
    }

    /// Does all of it in one transaction that is durable when this returns. On an error none of it has been promised.
    pub(super) fn change(
        &self,
        mut snapshot: Snapshot,
        limits: StoreLimits,
        asks: Vec<Ask>,
    ) -> Result<Changes, StoreFault> {
        let changes = guarded(|| {
            let transaction = self.begin()?;
            let work =
                Work { transaction: &transaction, limits, snapshot: &mut snapshot, claims: None, revised: false };
            let worked = work.all(asks)?;
            // Claims that were had before change nothing: the disk is not asked for them.
            if worked.wrote || worked.revised {
                transaction.commit()?
            } else {
                transaction.abort()?
            }
            Ok(worked)
        });
        let Worked { done, claims, revised, .. } = changes.map_err(|error| StoreFault::Failed(error.to_string()))?;
        Ok(Changes { done, claims, snapshot: revised.then_some(snapshot) })
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        // The next start after a kill is quick; dearer commits are what it costs.
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.begin()?;
        transaction.open_table(CLAIMS)?;
        transaction.open_table(CLAIM_ENDS)?;
        transaction.open_table(REVOCATIONS)?;
        Ok(transaction.commit()?)
    }
}

/// What a file says that cannot be written now: a full disk is no reason to forget what is revoked, nor to stop. A file that
/// is not there says that nothing is.
pub(super) fn read_only(path: &Path) -> Option<(u64, Snapshot)> {
    match path.try_exists() {
        Ok(false) => Some((0, Snapshot::default())),
        Ok(true) => guarded(|| read_all(&ReadOnlyDatabase::open(path)?)).ok(),
        Err(_unknown) => None,
    }
}

fn read_all(database: &impl ReadableDatabase) -> Result<(u64, Snapshot), redb::Error> {
    let transaction = database.begin_read()?;
    let claims = transaction.open_table(CLAIMS)?.len()?;
    let mut snapshot = Snapshot::default();
    for entry in transaction.open_table(REVOCATIONS)?.iter()? {
        let (key, value) = entry?;
        let ((kind, name), (from, ends, until, note)) = (key.value(), value.value());
        let Some(kind) = RevocationKind::ALL.into_iter().find(|known| known.number() == kind) else {
            return Err(redb::Error::Corrupted(format!("a revocation of the unknown kind {kind}")));
        };
        let time = |millis: i64| (millis != NEVER).then(|| Timestamp::from_millis(millis));
        let (from, note) = (Timestamp::from_millis(from), note.to_owned());
        snapshot.put(kind, name, Revocation { from, ends: time(ends), until: time(until), note });
    }
    Ok((claims, snapshot))
}

/// What one transaction did.
pub(super) struct Changes {
    /// One for each ask, in order.
    pub(super) done: Vec<Result<Done, StoreFault>>,
    /// Claims that are kept now, where they were looked at.
    pub(super) claims: Option<u64>,
    /// What is revoked now, where that changed.
    pub(super) snapshot: Option<Snapshot>,
}

/// redb stops at what it takes for impossible; for us that is a damaged file, and no reason to end.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err(redb::Error::Corrupted("its reader gave up on it".to_owned())))
}

fn open_whole(file: &Path, named: &Path, is_new: bool) -> Result<Database, StoreUnopened> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    let opened = catch_unwind(AssertUnwindSafe(|| if is_new { builder.create(file) } else { builder.open(file) }));
    let path = named.to_path_buf();
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) => {
            Err(StoreUnopened::InUse(path))
        }
        Ok(Err(DatabaseError::Storage(StorageError::Io(error))))
            if !matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            Err(StoreUnopened::Unreadable { path, why: error.to_string() })
        }
        Ok(Err(error)) => Err(StoreUnopened::Damaged { path, why: error.to_string() }),
        Err(_panic) => Err(StoreUnopened::Damaged { path, why: "its reader gave up on it".to_owned() }),
    }
}

/// What one transaction would do once it is committed.
struct Worked {
    done: Vec<Result<Done, StoreFault>>,
    claims: Option<u64>,
    wrote: bool,
    revised: bool,
}

/// One transaction under way.
struct Work<'a> {
    transaction: &'a WriteTransaction,
    limits: StoreLimits,
    snapshot: &'a mut Snapshot,
    claims: Option<ClaimTables<'a>>,
    revised: bool,
}

impl<'a> Work<'a> {
    fn all(mut self, asks: Vec<Ask>) -> Result<Worked, redb::Error> {
        let done = asks.into_iter().map(|ask| self.one(ask)).collect::<Result<_, _>>()?;
        let claims = self.claims.as_ref().map(ClaimTables::len).transpose()?;
        let wrote = self.claims.is_some_and(|claims| claims.wrote);
        Ok(Worked { done, claims, wrote, revised: self.revised })
    }

    /// The outer error ends the transaction; the inner one is this ask's alone.
    fn one(&mut self, ask: Ask) -> Result<Result<Done, StoreFault>, redb::Error> {
        match ask {
            Ask::Claim(claims, at) => {
                let most = self.limits.claims;
                Ok(self.tables()?.claim(&claims, most, at)?.map(Done::Claimed))
            }
            Ask::Revise(kind, name, revise) => self.revise(kind, &name, revise),
            Ask::Forget(at) => {
                let over: Vec<_> = self
                    .snapshot
                    .iter()
                    .filter(|(_, _, kept)| kept.is_over(at))
                    .map(|(kind, name, _)| (kind, name.to_owned()))
                    .collect();
                for (kind, name) in over {
                    self.transaction.open_table(REVOCATIONS)?.remove((kind.number(), name.as_str()))?;
                    self.snapshot.remove(kind, &name);
                    self.revised = true;
                }
                Ok(Ok(Done::Forgot(self.tables()?.forget(at)?)))
            }
        }
    }

    fn tables(&mut self) -> Result<&mut ClaimTables<'a>, redb::Error> {
        let tables = match self.claims.take() {
            Some(tables) => tables,
            None => ClaimTables::of(self.transaction)?,
        };
        Ok(self.claims.insert(tables))
    }

    fn revise(
        &mut self,
        kind: RevocationKind,
        name: &str,
        revise: Revise,
    ) -> Result<Result<Done, StoreFault>, redb::Error> {
        let before = self.snapshot.find(kind, name);
        let Some(after) = revise(before) else { return Ok(Ok(Done::Revised(before.cloned()))) };
        if before.is_none() {
            let StoreLimits { revocations, tokens, .. } = self.limits;
            if self.snapshot.len() >= revocations {
                return Ok(Err(StoreFault::Full(format!("{revocations} revocations"))));
            }
            if kind == RevocationKind::Token && self.snapshot.count(kind) >= tokens {
                return Ok(Err(StoreFault::Full(format!("{tokens} revocations of tokens"))));
            }
        }
        let time = |moment: Option<Timestamp>| moment.map_or(NEVER, Timestamp::millis);
        let value = (after.from.millis(), time(after.ends), time(after.until), after.note.as_str());
        self.transaction.open_table(REVOCATIONS)?.insert((kind.number(), name), value)?;
        self.snapshot.put(kind, name, after.clone());
        self.revised = true;
        Ok(Ok(Done::Revised(Some(after))))
    }
}

/// The tables of claims in one transaction.
struct ClaimTables<'a> {
    claims: Table<'a, &'static [u8; 32], (i64, &'static [u8])>,
    ends: Table<'a, (i64, &'static [u8; 32]), ()>,
    wrote: bool,
}

impl<'a> ClaimTables<'a> {
    fn of(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        let (claims, ends) = (transaction.open_table(CLAIMS)?, transaction.open_table(CLAIM_ENDS)?);
        Ok(Self { claims, ends, wrote: false })
    }

    fn len(&self) -> Result<u64, redb::Error> {
        Ok(self.claims.len()?)
    }

    /// Makes all of the claims, or none.
    fn claim(
        &mut self,
        claims: &[Claim],
        most: u64,
        at: Timestamp,
    ) -> Result<Result<Claimed, StoreFault>, redb::Error> {
        let mut new = 0;
        for (place, claim) in claims.iter().enumerate() {
            let had = self.claims.get(&claim.key)?;
            let taken = had.as_ref().is_some_and(|had| {
                let (until, tie) = had.value();
                until > at.millis() && claim.tied_to.is_none_or(|tied| tied.as_slice() != tie)
            });
            let earlier = claims.iter().take(place).find(|other| other.key == claim.key);
            if taken || earlier.is_some_and(|other| other.tied_to.is_none() || other.tied_to != claim.tied_to) {
                return Ok(Ok(Claimed::Again(place)));
            }
            new += u64::from(had.is_none());
        }
        if self.len()? + new > most {
            self.forget(at)?;
        }
        if self.len()? + new > most {
            return Ok(Err(StoreFault::Full(format!("{most} claims"))));
        }
        for claim in claims {
            self.keep(claim)?;
        }
        Ok(Ok(Claimed::First))
    }

    fn keep(&mut self, claim: &Claim) -> Result<(), redb::Error> {
        let tie = claim.tied_to.as_ref().map_or(&[][..], <[u8; 32]>::as_slice);
        let before = self.claims.get(&claim.key)?.map(|had| (had.value().0, had.value().1 == tie));
        // What is tied already, and just as long, needs no write.
        if before.is_some_and(|(until, same)| same && until >= claim.until.millis()) && claim.tied_to.is_some() {
            return Ok(());
        }
        if let Some((until, _)) = before {
            self.ends.remove((until, &claim.key))?;
        }
        self.claims.insert(&claim.key, (claim.until.millis(), tie))?;
        self.ends.insert((claim.until.millis(), &claim.key), ())?;
        self.wrote = true;
        Ok(())
    }

    /// Forgets claims that are over, a few thousand at most. Whether there may be more.
    fn forget(&mut self, at: Timestamp) -> Result<bool, redb::Error> {
        let mut over = Vec::new();
        for entry in self.ends.range((i64::MIN, &[0; 32])..=(at.millis(), &[255; 32]))?.take(FORGOTTEN_AT_ONCE) {
            let key = entry?.0;
            let (until, key) = key.value();
            over.push((until, *key));
        }
        for (until, key) in &over {
            self.ends.remove((*until, key))?;
            self.claims.remove(key)?;
        }
        self.wrote |= !over.is_empty();
        Ok(over.len() == FORGOTTEN_AT_ONCE)
    }
}
