/** The tables of groups, added to the first ones (numbers.ts). */

/**
 * `group_numbers`: URIs that have a number, since files carry it, and are no groups here: deleted ones (former), and those that other services
 * keep (foreign). `seeded`: which members the configuration has given once, so that who is removed stays removed.
 */
const TABLES = `
  ALTER TABLE groups ADD COLUMN description TEXT;
  ALTER TABLE groups ADD COLUMN expires INTEGER;
  ALTER TABLE members ADD COLUMN expires INTEGER;
  CREATE INDEX members_uri ON members (uri);
  CREATE INDEX groups_owner ON groups (owner);
  CREATE TABLE group_admins (uri TEXT NOT NULL REFERENCES groups(uri), user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
    PRIMARY KEY (uri, user)) STRICT, WITHOUT ROWID;
  CREATE INDEX group_admins_user ON group_admins (user);
  CREATE TABLE nested (uri TEXT NOT NULL REFERENCES groups(uri), member TEXT NOT NULL REFERENCES groups(uri),
    expires INTEGER, PRIMARY KEY (uri, member)) STRICT, WITHOUT ROWID;
  CREATE INDEX nested_member ON nested (member);
  CREATE TABLE seeded (uri TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (uri, user)) STRICT, WITHOUT ROWID;
  INSERT INTO seeded SELECT uri, user FROM members;
  CREATE TABLE group_numbers (uri TEXT PRIMARY KEY, gid INTEGER NOT NULL UNIQUE, kind TEXT NOT NULL) STRICT, WITHOUT ROWID;
`

/** The counter that grows with every change of who is in which group, whoever makes it: a gateway, a command, somebody with sqlite3. */
export const MEMBERSHIPS = 'memberships'

const COUNT = `INSERT INTO counters VALUES ('${MEMBERSHIPS}', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1;`

const TRIGGERS = ['groups', 'members', 'nested'].flatMap((table) =>
  ['INSERT', 'UPDATE', 'DELETE'].map(
    (act) => `CREATE TRIGGER ${table}_${act.toLowerCase()} AFTER ${act} ON ${table} BEGIN ${COUNT} END;`,
  ),
)

export const GROUPS_2 = [TABLES, ...TRIGGERS].join('\n')
