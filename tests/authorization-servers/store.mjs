// Keeps what an authorization server issued in a file, in the shape that `oidc-provider` asks of an adapter.
import { DatabaseSync } from 'node:sqlite';

const soon = seconds => (seconds ? Math.floor(Date.now() / 1000) + seconds : null);

export function keptIn(file) {
  const db = new DatabaseSync(file);
  db.exec('PRAGMA journal_mode = WAL');
  db.exec(`CREATE TABLE IF NOT EXISTS kept (
    id TEXT PRIMARY KEY, payload TEXT NOT NULL, grant_id TEXT, uid TEXT, ends_at INTEGER)`);
  const put = db.prepare('INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?)');
  const byId = db.prepare('SELECT * FROM kept WHERE id = ?');
  const byUid = db.prepare('SELECT * FROM kept WHERE uid = ?');
  const remove = db.prepare('DELETE FROM kept WHERE id = ?');
  const removeGrant = db.prepare('DELETE FROM kept WHERE grant_id = ?');

  const read = row => {
    const over = row?.ends_at && row.ends_at <= soon(0.001);
    return row && !over ? JSON.parse(row.payload) : undefined;
  };

  class Adapter {
    constructor(model) {
      this.id = id => `${model}:${id}`;
    }
    async upsert(id, payload, seconds) {
      put.run(this.id(id), JSON.stringify(payload), payload.grantId ?? null, payload.uid ?? null, soon(seconds));
    }
    async find(id) {
      return read(byId.get(this.id(id)));
    }
    async findByUid(uid) {
      return read(byUid.get(uid));
    }
    async findByUserCode() {
      return undefined;
    }
    async consume(id) {
      const row = byId.get(this.id(id));
      if (!row) return;
      const payload = { ...JSON.parse(row.payload), consumed: Math.floor(Date.now() / 1000) };
      put.run(row.id, JSON.stringify(payload), row.grant_id, row.uid, row.ends_at);
    }
    async destroy(id) {
      remove.run(this.id(id));
    }
    async revokeByGrantId(grantId) {
      removeGrant.run(grantId);
    }
  }

  return {
    Adapter,
    load: name => read(byId.get(`own:${name}`)),
    save: (name, value) => put.run(`own:${name}`, JSON.stringify(value), null, null, null)
  };
}
