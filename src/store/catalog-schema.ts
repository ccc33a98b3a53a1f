/** The tables of a catalog: nodes as rows, and the objects in a bucket that may have no node. */
import { ARRIVALS } from './catalog-arrivals.ts'
import { type Schema } from './migrations.ts'

/**
 * A node stands under its parent by id, so that a rename is one row whatever stands below. Names are UTF-8 text, and the collation BINARY compares
 * their bytes. What waits in the trash of a container has the negated id of that container as its parent.
 *
 * `size` is the bytes of a data node, and of a container all that its tree holds; `nodes` counts the same tree, itself included. Both are kept
 * along the way up at every change, so that usage and quota cost the depth of a node and not the size of its tree.
 */
const CATALOG_1 = `
  CREATE TABLE nodes (id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER, name TEXT NOT NULL, type TEXT NOT NULL,
    owner TEXT NOT NULL, flags INTEGER NOT NULL, shares TEXT, mode INTEGER NOT NULL, gid INTEGER,
    mtime TEXT NOT NULL, ctime TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 1, properties TEXT,
    size INTEGER NOT NULL DEFAULT 0, nodes INTEGER NOT NULL DEFAULT 1, folders INTEGER NOT NULL DEFAULT 0, quota INTEGER,
    content TEXT, md5 TEXT, etag TEXT, key TEXT, text BLOB, UNIQUE (parent, name)) STRICT;
  CREATE INDEX nodes_key ON nodes (key) WHERE key IS NOT NULL;
  CREATE TABLE trash (id TEXT PRIMARY KEY, node INTEGER NOT NULL UNIQUE, deleted INTEGER NOT NULL, note TEXT NOT NULL)
    STRICT, WITHOUT ROWID;
  CREATE TABLE intents (key TEXT PRIMARY KEY, state TEXT NOT NULL, holder TEXT NOT NULL, since INTEGER NOT NULL, upload TEXT)
    STRICT, WITHOUT ROWID;
  CREATE INDEX intents_state ON intents (state, since);
`

/** What a bucket says whose it is by. */
const CATALOG_2 = `
  CREATE TABLE identity (id TEXT NOT NULL) STRICT;
  INSERT INTO identity VALUES (lower(hex(randomblob(16))));
`

/**
 * Objects that were in a bucket before: each node of them has the number of its import, and its object the key that others know. Of a container
 * `key` is that of an object that stands for it (`NAME/`). `mark` is how far a run has come, as JSON, and `run` which one it is.
 */
const CATALOG_3 = `
  ALTER TABLE nodes ADD COLUMN import INTEGER;
  ALTER TABLE nodes ADD COLUMN modified INTEGER;
  DROP INDEX nodes_key;
  CREATE INDEX nodes_key ON nodes (key) WHERE key IS NOT NULL AND import IS NULL;
  CREATE UNIQUE INDEX nodes_import ON nodes (import, key) WHERE import IS NOT NULL;
  CREATE TABLE imports (id INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL UNIQUE, bucket TEXT NOT NULL,
    prefix TEXT NOT NULL, writable INTEGER NOT NULL, run TEXT, mark TEXT) STRICT;
  CREATE TABLE left_out (import INTEGER NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (import, key))
    STRICT, WITHOUT ROWID;
  ALTER TABLE intents ADD COLUMN bucket TEXT;
  ALTER TABLE intents ADD COLUMN object TEXT;
  ALTER TABLE intents ADD COLUMN etag TEXT;
`

/** "krct" */
export const CATALOG: Schema = {
  application: 0x6b726374,
  steps: [CATALOG_1, CATALOG_2, CATALOG_3, ARRIVALS],
  name: 'karst catalog',
}
