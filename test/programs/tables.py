"""Tables in the manner of a CASA MeasurementSet, by several processes at a time: arguments are a folder, make | write | check | watch,
a name and a count.

A table is a directory. `table.lock` is locked by fcntl, byte 0 for reading or writing and byte 1 for being in use, and counts the changes;
`table.dat` has the number of rows; `table.f0` has a header and buckets of rows, some of them written again in their midst; `table.f1` is
written anew each time beside and renamed; `history` is only appended to (a+). Whoever holds the lock must find them all agreed.
"""
import fcntl
import hashlib
import os
import random
import struct
import sys
import time

ROWS_OF_BUCKET, ROW, HEADER = 16, 512, 1024
TABLES = ('.', 'ANTENNA', 'SPECTRAL_WINDOW')


class Lock:
    """The lock file as it is held, and the counter in it."""

    def __init__(self, table, kind):
        self.file = open(os.path.join(table, 'table.lock'), 'r+b')
        self.kind = kind

    def __enter__(self):
        fcntl.lockf(self.file, fcntl.LOCK_SH, 1, 1)
        fcntl.lockf(self.file, self.kind, 1, 0)
        self.file.seek(2)
        (self.changes,) = struct.unpack('>q', self.file.read(8))
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.kind == fcntl.LOCK_EX:
            self.file.seek(2)
            self.file.write(struct.pack('>q', self.changes + 1))
            self.file.flush()
        fcntl.lockf(self.file, fcntl.LOCK_UN, 1, 0)
        self.file.close()


def row_of(number, version, who):
    head = struct.pack('>qq16s', number, version, who.encode())
    body = (hashlib.sha256(head).digest() * (ROW // 32))[: ROW - len(head) - 32]
    return head + body + hashlib.sha256(head + body).digest()


def read_row(data, number):
    if data[-32:] != hashlib.sha256(data[:-32]).digest():
        raise SystemExit(f'row {number} is torn: {data[:40]!r}')
    found, version, _ = struct.unpack('>qq16s', data[:32])
    if found != number:
        raise SystemExit(f'row {number} is {found}')
    return version


def offset_of(number):
    return HEADER + number * ROW


def make(table):
    os.makedirs(table, exist_ok=True)
    for name, data in (
        ('table.lock', b'xx' + struct.pack('>q', 0)),
        ('table.dat', struct.pack('>q', 0)),
        ('table.f0', struct.pack('>qq', 0, 0) + bytes(HEADER - 16)),
        ('table.f1', struct.pack('>q', 0)),
        ('history', b''),
    ):
        with open(os.path.join(table, name), 'wb') as file:
            file.write(data)


def change(table, who, pick):
    """Adds a row, rewrites some, and says so everywhere. Its lock is held."""
    at = lambda name: os.path.join(table, name)
    with open(at('table.dat'), 'r+b') as dat, open(at('table.f0'), 'r+b') as f0:
        (count,) = struct.unpack('>q', dat.read(8))
        _, rewrites = struct.unpack('>qq', f0.read(16))
        old = sorted({pick.randrange(count) for _ in range(3)}) if count else []
        for number in old:
            f0.seek(offset_of(number))
            version = read_row(f0.read(ROW), number)
            f0.seek(offset_of(number))
            f0.write(row_of(number, version + 1, who))
        if count % ROWS_OF_BUCKET == 0:
            # a new bucket is there whole before it has rows
            f0.seek(offset_of(count))
            f0.write(bytes(ROWS_OF_BUCKET * ROW))
        f0.seek(offset_of(count))
        f0.write(row_of(count, 0, who))
        f0.seek(0)
        f0.write(struct.pack('>qq', count + 1, rewrites + len(old)))
        dat.seek(0)
        dat.write(struct.pack('>q', count + 1))
        if pick.randrange(3) == 0:
            f0.flush()
            os.fsync(f0.fileno())
    with open(at(f'table.f1_{who}'), 'wb') as index:
        index.write(struct.pack('>q', count + 1))
    os.rename(at(f'table.f1_{who}'), at('table.f1'))
    with open(at('history'), 'a+') as history:
        history.seek(0)
        if len(history.readlines()) != count:
            raise SystemExit(f'{table}: not as many lines of history as rows, {count}')
        history.write(f'{who} {count}\n')


def agree(table):
    """What the table holds, when all its files say the same. Its lock is held."""
    at = lambda name: os.path.join(table, name)
    with open(at('table.dat'), 'rb') as dat, open(at('table.f0'), 'rb') as f0, open(at('table.f1'), 'rb') as f1:
        (count,) = struct.unpack('>q', dat.read())
        (indexed,) = struct.unpack('>q', f1.read())
        data = f0.read()
    rows, rewrites = struct.unpack('>qq', data[:16])
    versions = [read_row(data[offset_of(i) : offset_of(i + 1)], i) for i in range(count)]
    with open(at('history')) as history:
        lines = history.read().splitlines()
    buckets = -(-count // ROWS_OF_BUCKET)
    said = (count, indexed, rows, sum(versions), len(data), [line.split()[1] for line in lines])
    wanted = (count, count, count, rewrites, offset_of(buckets * ROWS_OF_BUCKET), [str(i) for i in range(count)])
    if said != wanted:
        raise SystemExit(f'{table} does not agree: {said} instead of {wanted}')
    return count, lines


def main(folder, what, who='', number='0'):
    pick = random.Random(who)
    tables = [os.path.join(folder, name) for name in TABLES]
    if what == 'make':
        for table in tables:
            make(table)
    for i in range(int(number)):
        table = tables[pick.randrange(len(tables))]
        if what == 'write':
            with Lock(table, fcntl.LOCK_EX):
                change(table, who, pick)
            print(i, flush=True)
        else:
            with Lock(table, fcntl.LOCK_SH):
                agree(table)
            time.sleep(pick.random() / 20)
    if what == 'check':
        found = []
        for table in tables:
            with Lock(table, fcntl.LOCK_SH) as lock:
                count, lines = agree(table)
            if lock.changes != count:
                raise SystemExit(f'{table}: {lock.changes} changes are counted, and {count} were made')
            found += [line.split()[0] for line in lines]
        print(' '.join(f'{name}={found.count(name)}' for name in sorted(set(found))))


main(*sys.argv[1:])
